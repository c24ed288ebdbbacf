"""A profile prepared from clean drives: `stages` is the chain, each other file one of the things that it is made of."""
