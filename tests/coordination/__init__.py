"""Random programs over events, locks, semaphores, limiters, conditions and channels (chapter S).

A program is some tasks, each with its steps. It sees the same on every host, and with anyio's primitives on
trio in the place of ours, which share no code with them. At its end all is at rest: whatever was acquired is
free, and each item that was sent was received once, or is still in the channel.

No two acts are at one instant, since each task sleeps for a time of its own after each act: which of two
comes first is up to the host. `test_handover.py` of the conformance suite has acts that meet.
"""
