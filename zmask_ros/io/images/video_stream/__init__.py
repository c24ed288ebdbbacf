"""Video in messages: packets of H.264, H.265, AV1 and VP9 to pictures, and what is lost of them.

Decoders hide losses: FFmpeg's H.264 decoder says nothing at all of a packet that is missing. So each codec has a module
here that reads of a packet what tells a loss, and `decoder` has the one decoder of a topic.
"""
