"""What is measured of a finished picture: a perceptual hash, and what the job's scorers say.

    measuring  one picture: hash and scores            clip, aesthetic, safety   the scorers
    kept       scorers by digest, loaded once           loading                   what their models are loaded with

Scorers run on the CPU in the upload threads, one torch thread each: never on the device, never on its thread. Each
picture is scored alone and in float32, so a score depends on neither company nor device. torch is imported when the
first scorer is loaded.
"""

from worker.scoring.kept import Scorers
from worker.scoring.measuring import Measured, Scorer, ScoringFailed, measure

__all__ = ["Measured", "Scorer", "Scorers", "ScoringFailed", "measure"]
