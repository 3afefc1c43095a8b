"""Films of a whole body, made offline: slow networks that need the whole clip beforehand."""
