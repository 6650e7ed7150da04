#!/bin/sh
# Makes the two font files beside this script, in the folder it is run from. Needs Debian's
# fonts-inter and fonttools. See ../README.md for what they are.
set -eu

# Latin, Greek and Cyrillic, for names of files, and the signs that labels use.
unicodes='U+0020-007E,U+00A0-017F,U+0391-03A9,U+03B1-03C9,U+0400-045F'
signs='U+2009,U+2013,U+2014,U+2018-201E,U+2022,U+2026,U+2192,U+2212,U+221E,U+2264,U+2265'

for weight in Regular SemiBold; do
    pyftsubset "/usr/share/fonts/opentype/inter/Inter-$weight.otf" \
        --unicodes="$unicodes,$signs" --layout-features= --no-hinting --desubroutinize \
        --notdef-outline --name-IDs='*' --output-file="Inter-$weight.otf"
done
