"""The whole house on one machine: servers, pools and pages started, orders run, books compared, all put away
again.

paths      where things lie under ``.run/``        lock        one demo a clone at a time servers
embedded, or those of the environment   prepare     schemas, catalogue, login (a process of its own) processes
children with their logs                ports       pages on free ports warden      ends what was started,
whatever happens script      what happens, in its order telling     what is said of it                  trail
waiting for the audit
"""
