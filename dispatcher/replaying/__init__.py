"""Stored pictures held against what is recorded of them, and rendered again from their own provenance.

originals   what is to be rendered again     sampling    which images of a job
wanting     jobs made of recipes             running     those jobs, to their end
grading     the old picture and the new      replay      all of it together
alone       one picture, a file too          verifying   stored files read again
"""
