"""From a situation to a plan: condensing, searching and solving."""
