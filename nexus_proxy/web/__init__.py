"""The browser dashboard: one page without a build step, and what keeps it live.

`page` writes the plain page, `frames` what goes over `/ws`, `hub` hands it to whoever looks,
`assets` are the files that the browser fetches. `nexus_proxy.api.dashboard` and
`nexus_proxy.api.websockets` put them on routes. Nothing here is imported, and nothing is reckoned,
before somebody opens the page.
"""
