"""How one host keeps its nodes alive: starting them again, reading their life files, telling the farm."""
