import os
import socket
import threading

listener = socket.create_server(("", int(os.environ["PORT"])))


def serve(connection):
    with connection, connection.makefile("rwb", buffering=0) as lines:
        for line in lines:
            lines.write(line.upper())


def accept():
    while True:
        connection, _address = listener.accept()
        threading.Thread(target=serve, args=(connection,)).start()


def start():
    threading.Thread(target=accept).start()


def close():
    print("closed")
