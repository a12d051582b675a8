# A stand-in until the agent is there.
