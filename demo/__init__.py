"""A small XBlock host with a course of real XBlocks, to see in a browser what `xblock_user_state` keeps.

Run it with ``python -m demo``. ``host/`` is also the example to read when the client is to be built into another
host: ``host/runtime.py`` binds blocks to it, ``host/views/staff.py`` reads back what it kept.
"""
