import errno
import os
import socket
import socketserver

port = int(os.environ["PORT"])

with socketserver.TCPServer(("", port), socketserver.StreamRequestHandler):
    pass
# It was closed, and can be taken again.
first = socket.create_server(("", port))
print(*first.getsockname())
try:
    socket.create_server(("localhost", port))
except OSError as error:
    print(errno.errorcode[error.errno])
third = socket.create_server(("127.0.0.1", 0))
print("true" if third.getsockname()[1] != port else "false")
