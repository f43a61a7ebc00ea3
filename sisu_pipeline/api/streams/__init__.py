"""The events of streams: changes of a run, changes of the inbox, the output of tasks, and all of them in one."""
