import os
import socket

listener = socket.socket()
listener.bind(("localhost", int(os.environ["PORT"])))
listener.listen()


def close():
    print("closed")


while True:
    connection, _address = listener.accept()
    with connection, connection.makefile("rwb", buffering=0) as lines:
        for line in lines:
            lines.write(line.upper())
