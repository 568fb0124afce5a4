"""A farm of real processes that things are done to: proxies that lie, signals, lost messages, and a check afterwards.

taps, http_tap    stand between the farm and its servers, and can be told to fail
farm              the processes and servers of one farm
deeds, messages   what can be done to them
crashing, clock   dispatchers that die at a named line; processes whose clock is wrong
checks            nothing lost, nothing doubled, nothing wrong
storm             many of these faults in a row, drawn by a seed
"""
