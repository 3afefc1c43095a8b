"""Avatar sessions placed over many machines.

`directory` decides which machine gets a session and knows which one has it; `host` is a machine's side, `front` a
`Place` whose sessions live on those machines. None of them knows Ray: what crosses goes through `links`, and `actors`
makes Ray carry it.
"""
