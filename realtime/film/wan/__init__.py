"""Wan-Animate: the person of a portrait moves as the person of a clip does, or stands in that person's place."""
