"""The demo runs the complete system on one machine: servers, pools, pages, orders, reconciliation.

``runner``     the order of events           ``servers``    embedded servers, or those of the environment
``prepare``    schemas, catalogue, login     ``processes``  child processes, their logs and ports
``reaper``     ends everything at the end    ``paths``      files below ``.run/``, and the lock
``output``     what is printed
"""
