"""Why a file answers a query.

    account.py      its score taken apart: which term adds how much, by which segment
    pictures.py     where in a picture a term's score comes from;  occlusion.py: the way for any tower
    words.py        which words of a line carry its similarity
    why.py          all of that put together;  values.py: as values;  machine.py: as JSON
    draw.py         as a picture;  panels.py: its parts;  heat_colours.py: heat over a photograph
    faithfulness.py whether maps tell the truth: deletion and insertion

Importing this is light. How a network's own maps are made is in `mmsearch.encoders`: heat.py, cam.py, legrad.py.
"""
