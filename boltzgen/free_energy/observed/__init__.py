"""What people compare with experiment: numbers of conformations by name; `registry` is the door.

One module a family; each turns a name as people write it into a `Measure`, which knows no weights.
"""
