"""What the images of jobs share, and what two jobs do not share.

declaring   what a job says its seeds come from      columns      a job's images in few bytes
collisions  noise and pictures that occur twice      differing    two jobs, recipe by recipe and key by key
saying      what a job says of a key, in few bytes
"""
