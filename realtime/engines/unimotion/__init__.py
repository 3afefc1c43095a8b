"""Identity-agnostic motion tokens of a whole body, in X-UniMotion's way, and what draws with them.

Source: Song et al., "X-UniMotion: Animating Human Images with Expressive, Unified and Identity-Agnostic Motion
Latents", 2025. Its weights, code and sizes are not public, so that this is a system of its own after the public
description, and small: which networks there are, what goes into them, what they are trained on and with which
auxiliary tasks is the paper's; every size, loss weight, and all that a module's notes call a choice is ours.
"""

METADATA = "realtime-avatar.unimotion"
"""The key in a weight file's metadata that says which networks these are."""
