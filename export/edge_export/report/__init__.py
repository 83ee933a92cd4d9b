"""Reports: one HTML file that needs no network, of `verify`, `check` or `bench`.

markup.py        elements, everything escaped unless it is markup already
page.py          the document around sections; tables; the file, absent or whole
charts.py        lines as SVG
spectra.py       sound: mean spectra, spectrograms, players
evidence.py      what one compared pair of arrays shows; which of it fits into the file
sections.py      tables and texts about a verification
verification.py  checking.py  timings.py    the three reports
style.css  script.js                        go into every page
"""
