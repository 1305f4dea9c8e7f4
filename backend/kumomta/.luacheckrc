-- luacheck kumomta/policy (see docs/mail-plane.md)
std = 'lua54'
max_line_length = 120
