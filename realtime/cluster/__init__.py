"""Avatar sessions placed over many machines, or over several processes of one.

`directory` decides which machine gets a session and knows which one has it; `host` is a machine's side, `front` a
`Place` whose sessions live on those machines. None of them knows Ray: what crosses goes through `links`, and `actors`
makes Ray carry it. `processes` and `worker` are a cluster on one machine, carried by a `pipe`.
"""
