"""The web face: one page for drawing, photographs and trainings that are watched live.

The server needs Starlette and uvicorn, which only the modules that speak HTTP import; a training runs in a process of
its own (`manyhands.web.child`), which needs neither.
"""
