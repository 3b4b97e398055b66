"""The listening sockets that a start is given (docs/host-protocol.md, "Listening sockets"), for programs that do not know
of them: `bind` to a port or path of the manifest takes the socket that was passed, and when the service closes, nothing
that has come over one is lost.

A passed socket never blocks, whatever the program says: that is a property of the socket itself, which is shared with
other processes, and one that waited in accept(2) could neither be woken nor see that another has been faster.
"""

import asyncio
import errno
import os
import select
import socket
import socketserver
import sys
import threading
import time

FIRST = 3
# For so many seconds a client that keeps a connection open may be silent before it is believed to send nothing more: a
# request that is on its way when the connection is closed would be lost.
GRACE = 1.0
# How often a closing service looks at its connections: any thread may close one, and tells nobody.
TICK = 0.02


class Passed:
    """A listening socket, and who has taken it."""

    def __init__(self, descriptor, address):
        self.descriptor = descriptor
        self.host, self.port, self.path = None, None, None
        if address.startswith("/"):
            self.family, self.path = socket.AF_UNIX, address
        else:
            host, port = address.rsplit(":", 1)
            self.family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
            self.host, self.port = host.strip("[]"), int(port)
        self.inode = os.fstat(descriptor).st_ino
        # By the descriptor of a program's socket: the family that it had. What was closed since is still in it.
        self.takers = {}
        os.set_inheritable(descriptor, False)
        os.set_blocking(descriptor, False)

    def families(self):
        """Those for which it is taken. A program that listens for IPv4 and for IPv6 has it twice."""
        return [family for descriptor, family in self.takers.items() if inode(descriptor) == self.inode]

    def is_path(self, path):
        """A relative path is one of the code's folder to the program, and one of the manifest's to the orchestrator."""
        if self.path is None:
            return False
        ending = os.path.normpath(os.path.join("/", path))
        return self.path == os.path.abspath(path) or (not os.path.isabs(path) and self.path.endswith(ending))


def inode(descriptor):
    """Which socket a descriptor is, as long as it is open."""
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return None


def say_goodbye():
    """Has the servers of HTTP that programs bring along, as far as they are known here, tell with each answer that it is
    the connection's last. When to close one is theirs to know."""
    aiohttp = sys.modules.get("aiohttp.web_request")
    if aiohttp:
        aiohttp.BaseRequest.keep_alive = property(lambda _request: False)
    for name in ("h11_impl", "httptools_impl"):
        uvicorn = sys.modules.get(f"uvicorn.protocols.http.{name}")
        if uvicorn:
            uvicorn.RequestResponseCycle.send = with_goodbye(uvicorn.RequestResponseCycle.send)


def with_goodbye(send):
    async def send_with_goodbye(cycle, message):
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await send(cycle, message)

    return send_with_goodbye


class Sockets:
    """All of them. `serving(is_free)` is called when the program settles to serve; not `is_free`: the thread is taken."""

    def __init__(self, addresses, serving):
        entries = [entry.split("=", 1)[1] for entry in addresses.split(";")]
        self._passed = [Passed(FIRST + index, address) for index, address in enumerate(entries)]
        self._serving = serving
        self.closing = False
        self._wake, self._waker = os.pipe()
        # Of all that was accepted, by descriptor: which socket it was, and whether it speaks HTTP here.
        self._connections = {}
        # The handlers of HTTP that wait for a request, and since when.
        self._silent = {}
        self._servers = []
        self._loops_servers = []
        self._knows_http = False
        self._patch_sockets()
        self._patch_servers()
        self._keep_paths()

    # --- the host's part ---

    def stop(self):
        """Accepts nothing more. From any thread."""
        if self.closing:
            return
        self.closing = True
        os.write(self._waker, b".")
        say_goodbye()
        for loop, server in self._loops_servers:
            if not loop.is_closed():
                loop.call_soon_threadsafe(server.close)
        for server in self._servers:
            threading.Thread(target=server.shutdown, daemon=True).start()

    async def answered(self):
        """Returns when every HTTP request is, and what else there is has had a moment."""
        told = time.monotonic()
        while True:
            self._let_go(told)
            speak_http = self._open()
            if not any(speak_http) and (not speak_http or time.monotonic() - told >= GRACE):
                return
            await asyncio.sleep(TICK)

    async def ended(self):
        """Returns when all connections have."""
        while self._open():
            await asyncio.sleep(TICK)

    def _open(self):
        """Of each connection that is open: whether it speaks HTTP."""
        table = list(self._connections.items())
        return [speaks_http for descriptor, (which, speaks_http) in table if inode(descriptor) == which]

    def _let_go(self, told):
        """Ends the conversations in which nothing has been asked for some time."""
        for handler, since in list(self._silent.items()):
            if time.monotonic() - max(told, since) >= GRACE and self._silent.pop(handler, None):
                try:
                    # Not by a method of TLS, which is in use by the handler's thread.
                    socket.socket.shutdown(handler.connection, socket.SHUT_RD)
                except OSError:
                    pass

    # --- sockets ---

    def _patch_sockets(self):
        plain = socket.socket
        bind, listen, accept, shutdown = plain.bind, plain.listen, plain.accept, plain.shutdown

        def bind_or_take(one, address):
            if not self._take(one, address):
                bind(one, address)

        def on_others(method):
            return lambda one, *values: None if self._taken(one) else method(one, *values)

        plain.bind = bind_or_take
        plain.accept = lambda one: self._accept(one, accept) if self._taken(one) else accept(one)
        # It listens already, and how many may wait is the orchestrator's to say.
        plain.listen = on_others(listen)
        # Whoever else has the socket would hear nothing any more.
        plain.shutdown = on_others(shutdown)
        for name in ("settimeout", "setblocking"):
            setattr(plain, name, self._never_blocking(getattr(plain, name)))

    def _never_blocking(self, method):
        def set_and_keep(one, value):
            method(one, value)
            if self._taken(one):
                os.set_blocking(one.fileno(), False)

        return set_and_keep

    def _taken(self, one):
        descriptor = one.fileno()
        return any(descriptor in each.takers and inode(descriptor) == each.inode for each in self._passed)

    def _take(self, one, address):
        """Makes a program's socket the passed one that its address means, if there is such a one."""
        passed = self._find(one, address)
        if passed is None:
            return False
        family, timeout, descriptor = one.family, one.gettimeout(), one.detach()
        os.dup2(passed.descriptor, descriptor, inheritable=False)
        # It is of another family perhaps, by which names are read.
        socket.socket.__init__(one, fileno=descriptor)
        passed.takers[descriptor] = family
        one.settimeout(timeout)
        return True

    def _find(self, one, address):
        if one.type != socket.SOCK_STREAM:
            return None
        host, port = None, None
        if one.family == socket.AF_UNIX:
            path = os.fsdecode(address)
            same = [each for each in self._passed if "\0" not in path and each.is_path(path)]
        else:
            host, port = address[:2]
            same = [each for each in self._passed if each.port == port and port is not None]
        free = [each for each in same if one.family not in each.families()]
        if same and not free:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        suiting = sorted(free, key=lambda each: (each.families() != [], each.host != host, each.family != one.family))
        return suiting[0] if suiting else None

    def _accept(self, one, accept):
        timeout = one.gettimeout()
        if timeout is None:
            self._serving(False)
        while not self.closing:
            try:
                connection, address = accept(one)
            except BlockingIOError:
                if timeout is not None:
                    raise
                self._await(one)
                continue
            self._connections[connection.fileno()] = (inode(connection.fileno()), False)
            self._learn_http()
            return connection, address
        if timeout is None:
            # Leaves the thread as it would leave the program, through what it wants to be done at last.
            raise SystemExit(0)
        if timeout == 0:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        time.sleep(timeout)
        raise socket.timeout("timed out")

    def _await(self, one):
        poll = select.poll()
        poll.register(one.fileno(), select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        poll.poll()

    # --- servers ---

    def _patch_servers(self):
        serve_forever = socketserver.BaseServer.serve_forever
        serve_all = asyncio.Server.serve_forever
        listeners = ((asyncio.BaseEventLoop, "create_server"), (asyncio.SelectorEventLoop, "create_unix_server"))

        def serve(server, *values, **named):
            if hasattr(server, "socket") and self._taken(server.socket):
                self._servers.append(server)
                self._serving(False)
            return None if self.closing else serve_forever(server, *values, **named)

        async def serve_in_loop(server):
            if any(map(self._taken, server.sockets)):
                self._serving(True)
            await serve_all(server)

        socketserver.BaseServer.serve_forever = serve
        asyncio.Server.serve_forever = serve_in_loop
        for loop, name in listeners:
            setattr(loop, name, self._remembering(getattr(loop, name)))

    def _remembering(self, create):
        async def create_and_remember(loop, *values, **named):
            server = await create(loop, *values, **named)
            if any(map(self._taken, server.sockets)):
                self._loops_servers.append((loop, server))
            return server

        return create_and_remember

    def _learn_http(self):
        """Has http.server tell what it does, once a program has loaded it: it is large."""
        module = sys.modules.get("http.server")
        if self._knows_http or module is None:
            return
        self._knows_http = True
        base = module.BaseHTTPRequestHandler
        handle_one_request, parse_request, end_headers = base.handle_one_request, base.parse_request, base.end_headers

        def handle(handler):
            descriptor = handler.connection.fileno()
            if descriptor in self._connections:
                self._connections[descriptor] = (inode(descriptor), True)
                self._silent[handler] = time.monotonic()
            try:
                handle_one_request(handler)
            finally:
                self._silent.pop(handler, None)

        def parse(handler):
            self._silent.pop(handler, None)
            return parse_request(handler)

        def end(handler):
            if self.closing:
                handler.send_header("Connection", "close")
            end_headers(handler)

        base.handle_one_request, base.parse_request, base.end_headers = handle, parse, end

    def _keep_paths(self):
        """Programs remove what is left of a socket before they bind to its path, and this one is in use."""
        paths = [each.path for each in self._passed if each.path is not None]

        def keeping(remove):
            def remove_others(path, *values, **named):
                if os.path.abspath(os.fsdecode(path)) not in paths:
                    remove(path, *values, **named)

            return remove_others

        if paths:
            os.remove, os.unlink = keeping(os.remove), keeping(os.unlink)
