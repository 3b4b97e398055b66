"""The python plugin's host: runs one service and speaks docs/host-protocol.md.

The main thread runs the service's code and its event loop, as any Python program would; a thread of the host reads
the channel, so that a start() that blocks does not keep the host from hearing that it is over.
"""

import asyncio
import atexit
import importlib.util
import inspect
import json
import os
import socket
import sys
import threading
import traceback
import types

from orchestrator_talk import Talk

HOOKS = ("start", "close", "health")
TEXT_LIMIT = 64 * 1024
FOLDER = os.getcwd()
OTHER_FILES = ("orchestrator_talk.py", "orchestrator_sockets.py")
HOST_FILES = (__file__, *(os.path.join(os.path.dirname(__file__), name) for name in OTHER_FILES))


class Channel:
    """The host protocol's descriptor: whole messages, from any thread."""

    def __init__(self):
        descriptor = int(os.environ["ORCHESTRATOR_HOST_FD"])
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(True)
        os.set_inheritable(descriptor, False)
        self._lock = threading.Lock()

    def say(self, **message):
        self.send(message, b"", [])

    def send(self, message, text, parts):
        """A message whose payload is this JSON, and the bytes behind it."""
        if text:
            message["payload"] = len(text) + sum(map(len, parts))
            if parts:
                message["json"] = len(text)
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        try:
            with self._lock:
                self._socket.sendall(b"".join([line, text, *parts]))
        except OSError:
            os._exit(1)

    def messages(self):
        """Yields what the runner says; ends when it is gone."""
        with self._socket.makefile("rb") as lines:
            for line in lines:
                message = json.loads(line)
                yield message, lines.read(message.get("payload", 0))


# --- exceptions ---


def describe(error):
    """The type, the message, and the stack with the service's own file names, the innermost frame first."""
    stack = frames(error)
    cause = error.__cause__
    for _ in range(4):
        if cause is None:
            break
        stack += [f"caused by {type(cause).__name__}: {message_of(cause)}", *frames(cause)]
        cause = cause.__cause__
    return {"name": type(error).__name__, "message": message_of(error), "stack": well_formed("\n".join(stack))}


def message_of(error):
    """What a service makes of its exceptions must not keep the host from telling of them."""
    try:
        return well_formed(str(error.msg if isinstance(error, SyntaxError) else error))
    except Exception:
        return ""


def well_formed(text):
    """No longer than it may be; a lone surrogate, which a line of JSON cannot hold, becomes a question mark."""
    return text[:TEXT_LIMIT].encode("utf-8", "replace").decode()


def frames(error):
    lines = []
    if isinstance(error, SyntaxError) and error.filename:
        lines.append(f"at {relative(error.filename)}:{error.lineno}:{error.offset}")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename not in HOST_FILES and not frame.filename.startswith("<frozen importlib"):
            lines.append(f"at {frame.name} ({relative(frame.filename)}:{frame.lineno})")
    return lines


def relative(filename):
    absolute = os.path.abspath(filename)
    return os.path.relpath(absolute, FOLDER) if absolute.startswith(FOLDER + os.sep) else filename


# --- the service ---


def hooks_and_methods(module):
    """What `__all__` names, else what the module itself has defined: functions, namespaces, objects of its classes."""
    listed = getattr(module, "__all__", None)
    names = listed if listed is not None else [name for name in vars(module) if not name.startswith("_")]
    hooks, methods = {}, {}
    for name in names:
        value = getattr(module, name)
        if name in HOOKS and callable(value):
            hooks[name] = value
        elif inspect.isroutine(value):
            if listed is not None or value.__module__ == module.__name__:
                methods[name] = value
        elif is_namespace(value):
            methods.update(nested(name, value, 8))
    return hooks, methods


def is_namespace(value):
    """A SimpleNamespace, or an object of a class that the service's own files define."""
    if isinstance(value, types.SimpleNamespace):
        return True
    kind = type(value)
    if isinstance(value, (type, types.ModuleType, BaseException)) or kind.__module__ in ("builtins", "orchestrator"):
        return False
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return file is not None and os.path.abspath(file).startswith(FOLDER + os.sep)


def nested(name, namespace, depth):
    methods = {}
    for key, value in members(namespace):
        if inspect.isroutine(value) or isinstance(value, property):
            getter = isinstance(value, property)
            methods[f"{name}.{key}"] = (lambda owner=namespace, key=key: getattr(owner, key)) if getter else value
        elif depth > 1 and is_namespace(value):
            methods.update(nested(f"{name}.{key}", value, depth - 1))
    return methods


def members(namespace):
    """What an object has by name; of a property the property itself, which is not asked."""
    own = dict(vars(namespace)) if hasattr(namespace, "__dict__") else {}
    of_class = {} if isinstance(namespace, types.SimpleNamespace) else {
        key: value for kind in reversed(type(namespace).__mro__[:-1]) for key, value in vars(kind).items()
    }
    for key in [*own, *(key for key in of_class if key not in own)]:
        if not key.startswith("_"):
            found = of_class.get(key) if key not in own else None
            yield key, found if isinstance(found, property) else getattr(namespace, key)


def prepare(path):
    """The entry file as a module of its own name, which whoever imports it gets; not run yet."""
    name = os.path.splitext(os.path.basename(path))[0]
    module = importlib.util.module_from_spec(importlib.util.spec_from_file_location(name, path))
    sys.modules[name] = module
    return module


async def joined(thread):
    """Waits for a thread, in one that nobody waits for."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def wait():
        thread.join()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait, daemon=True).start()
    await ended.wait()


class Host:
    """One start of a service, from loading the code to the exit code."""

    def __init__(self):
        self.channel = Channel()
        self.loop = asyncio.new_event_loop()
        self.is_job = os.environ.get("ORCHESTRATOR_KIND") == "job"
        self.hooks = {}
        # Set by the main thread, in this order: starting, running, closing. Held while one of them follows another.
        self.phase = "starting"
        self.phases = threading.Lock()
        # Keeps a health check from being collected while it runs.
        self.checks = set()
        self.talk = Talk(self.loop, self.channel.send, describe)
        self.sockets = self.take_sockets()
        # The task that loads the code and calls `start`.
        self.starting = None

    def run(self, path):
        self.watch_exceptions()
        threading.Thread(target=self.listen, name="host protocol", daemon=True).start()
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self.main(path))
        except SystemExit as leaving:
            code = leaving.code
            self.exit(code if isinstance(code, int) else int(code is not None))
        except BaseException as error:
            self.uncaught(error)

    async def main(self, path):
        self.starting = asyncio.current_task()
        module = prepare(path)
        try:
            module.__spec__.loader.exec_module(module)
            self.hooks, self.talk.methods = hooks_and_methods(module)
            if not self.is_stopped():
                await self.call("start")
        except Exception as error:
            if self.phase != "starting":
                self.uncaught(error)
            self.channel.say(type="failed", error=describe(error))
            self.exit(1)
        except (SystemExit, asyncio.CancelledError):
            # This is how one that serves for ever, here, is stopped.
            if not self.is_stopped():
                raise
            self.hooks = {name: getattr(module, name) for name in HOOKS if callable(getattr(module, name, None))}
        self.started(sorted(self.talk.methods), "health" in self.hooks)
        if self.is_job:
            await self.until_idle()
            await self.close()
        await asyncio.Event().wait()

    def take_sockets(self):
        """Loaded only where there are any: what takes them changes modules that are not needed otherwise."""
        addresses = os.environ.get("ORCHESTRATOR_LISTEN")
        if not addresses:
            return None
        from orchestrator_sockets import Sockets

        return Sockets(addresses, self.serving)

    def is_stopped(self):
        return self.sockets is not None and self.sockets.closing

    def serving(self, is_free):
        """A program that serves for ever where it is to load or start has started. Unless the loop is free meanwhile,
        nothing of it can be called."""
        if is_free and asyncio.current_task() is self.starting:
            self.started(sorted(self.talk.methods), "health" in self.hooks)
        elif not is_free and threading.current_thread() is threading.main_thread():
            self.started([], False)

    def started(self, methods, health):
        with self.phases:
            if self.phase == "starting":
                self.phase = "running"
                self.channel.say(type="started", methods=methods, health=health)

    async def call(self, name):
        hook = self.hooks.get(name)
        outcome = hook() if hook else None
        return await outcome if inspect.isawaitable(outcome) else outcome

    async def until_idle(self):
        """A job has nothing left to do when its tasks, and its threads that are not daemons, have ended."""
        while True:
            tasks = asyncio.all_tasks() - {asyncio.current_task()} - self.checks - self.talk.tasks
            threads = [one for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
            if tasks:
                await asyncio.wait(tasks)
            elif threads:
                await joined(threads[0])
            else:
                return

    async def close(self):
        with self.phases:
            if self.phase == "closing":
                return
            self.phase = "closing"
        if self.sockets:
            self.sockets.stop()
        await asyncio.gather(self.talk.drain(), *([self.sockets.answered()] if self.sockets else []))
        try:
            await self.call("close")
        except Exception as error:
            self.uncaught(error)
        if self.sockets:
            # What the hook has left open ends by itself, or with the time that there is for closing.
            await self.sockets.ended()
        self.exit(0)

    async def health(self, number):
        failure = None
        try:
            if await self.call("health") is False:
                failure = "health() returned false"
        except Exception as error:
            failure = f"health() threw {type(error).__name__}: {message_of(error)}"
        self.channel.say(type="health", id=number, failure=failure)

    def listen(self):
        """The thread of the channel."""
        for message, payload in self.channel.messages():
            if message.get("type") == "health":
                self.soon(self.health(message["id"]))
            elif message.get("type") == "close":
                with self.phases:
                    if self.phase == "starting":
                        self.exit(0)
                # From here: the main thread may be one that serves for ever, until this stops it.
                if self.sockets:
                    self.sockets.stop()
                self.soon(self.close())
            else:
                self.loop.call_soon_threadsafe(self.talk.hear, message, payload)
        os._exit(1)

    def soon(self, coroutine):
        def begin():
            task = self.loop.create_task(coroutine)
            self.checks.add(task)
            task.add_done_callback(self.checks.discard)

        self.loop.call_soon_threadsafe(begin)

    def watch_exceptions(self):
        sys.excepthook = lambda _type, error, _traceback: self.uncaught(error)
        threading.excepthook = self.uncaught_in_thread
        self.loop.set_exception_handler(self.uncaught_in_loop)

    def uncaught_in_thread(self, thrown):
        # That is how a thread leaves by itself.
        if not issubclass(thrown.exc_type, SystemExit):
            self.uncaught(thrown.exc_value)

    def uncaught_in_loop(self, loop, context):
        error = context.get("exception")
        self.uncaught(error if error is not None else RuntimeError(context["message"]))

    def uncaught(self, error):
        self.channel.say(type="exception", error=describe(error))
        self.exit(1)

    def exit(self, code):
        """Ends the process without waiting for its threads, but with what it has registered to be done."""
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                pass
        os._exit(code)


def main():
    import orchestrator

    code = os.path.abspath(sys.argv[1])
    host = Host()
    # The service gets its own arguments, after the name of its own file, and imports from its own folder.
    del sys.argv[0]
    sys.path[0] = FOLDER
    orchestrator._attach(host.talk, lambda: host.channel.say(type="close"))
    host.run(code)


if __name__ == "__main__":
    main()
