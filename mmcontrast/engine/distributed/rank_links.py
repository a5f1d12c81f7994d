"""Connect the processes of a run, to notice when one of them fails or dies."""
import json
import os
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta

from torch import distributed as dist

# Seconds: all processes arrive right after init_process_group.
CONNECT_TIMEOUT = 60.0


@dataclass(frozen=True)
class RankFailure:
    """The failure of a rank.

    Attributes:
        rank: The rank that failed first, as far as this process knows.
        process: Its ``host, pid N``.
        error: The line of its exception; empty if its process died.
        trace: Its traceback.
    """

    rank: int
    process: str
    error: str = ''
    trace: str = ''


@dataclass
class _Peer:
    sock: socket.socket
    rank: int
    process: str
    rest: bytes = b''
    # The thread and the process itself may both send.
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, kind: str, **content) -> None:
        # A peer that is gone shows on reading.
        with suppress(OSError), self.lock:
            self.sock.sendall(_line(kind, **content))


class RankLinks:
    """One socket between rank 0 and every other rank, and a thread that reads it.

    The kernel closes the socket of a process that dies for whatever reason, and keeps
    that of a busy one alive; a lost machine shows within a minute (keep-alive). Waiting
    costs nothing. Rank 0 forwards the messages of a rank to all others. Construction is
    collective.

    Args:
        key: Name of these connections, the same on all ranks and new each time.
        on_failure: Called in the thread, once, when another rank has failed or died.

    Raises:
        OSError: If the ranks cannot connect (``TimeoutError`` among them).
    """

    def __init__(self, key: str, on_failure: Callable[[RankFailure], None]) -> None:
        self.rank, self.world_size = dist.get_rank(), dist.get_world_size()
        self.process = f'{socket.gethostname()}, pid {os.getpid()}'
        self.on_failure, self.failure = on_failure, None
        self._closing = False
        store, host = _own_store()
        self._peers = (self._accept_peers(store, key, host) if self.rank == 0
                       else [self._connect_to_rank_0(store, key)])
        threading.Thread(target=self._read, name='rank links', daemon=True).start()

    def send_failure(self, error: str, trace: str) -> None:
        """Tell all ranks that this one has failed."""
        for peer in self._peers:
            peer.send('failed', rank=self.rank, process=self.process, error=error,
                      trace=trace)

    def close(self) -> None:
        """Close the connections without a failure."""
        self._closing = True
        for peer in self._peers:
            peer.send('bye')
            with suppress(OSError):
                peer.sock.shutdown(socket.SHUT_WR)

    def close_in_child(self) -> None:
        """Close the connections in a forked child, which must not keep them alive."""
        self._closing = True
        for peer in self._peers:
            peer.sock.close()

    def _accept_peers(self, store, key: str, host: str) -> list[_Peer]:
        token, peers = secrets.token_hex(16), []
        end = time.monotonic() + CONNECT_TIMEOUT
        with _listen(host) as listener:
            store.set(key, json.dumps(dict(
                hosts=[host, socket.gethostname()], port=listener.getsockname()[1],
                token=token)))
            try:
                while len(peers) < self.world_size - 1:
                    listener.settimeout(max(end - time.monotonic(), 0.01))
                    peer = _handshake(listener.accept()[0], token)
                    if peer:
                        peer.send('hello', token=token, rank=0, process=self.process)
                        peers.append(peer)
            except OSError:
                for peer in peers:
                    peer.send('bye')
                raise
        return peers

    def _connect_to_rank_0(self, store, key: str) -> _Peer:
        try:
            meeting = json.loads(store.get(key))
        except RuntimeError as error:  # The store's time-out, by torch's version.
            raise TimeoutError(f'rank 0 named no address: {error}') from error
        failure = None
        for host in dict.fromkeys(meeting['hosts']):
            try:
                sock = socket.create_connection(
                    (host, meeting['port']), CONNECT_TIMEOUT / 4)
            except OSError as error:
                failure = error
                continue
            sock.sendall(_line(
                'hello', token=meeting['token'], rank=self.rank, process=self.process))
            peer = _handshake(sock, meeting['token'])
            if peer:
                return peer
        raise failure or TimeoutError(f'nobody answers at {meeting["hosts"]}')

    def _read(self) -> None:
        with selectors.DefaultSelector() as selector:
            for peer in self._peers:
                selector.register(peer.sock, selectors.EVENT_READ, peer)
            while selector.get_map():
                for key, _ in selector.select():
                    if not self._receive(key.data):
                        selector.unregister(key.fileobj)

    def _receive(self, peer: _Peer) -> bool:
        """Read from a peer; whether more may come."""
        try:
            data = peer.sock.recv(2**16)
        except OSError:
            data = b''
        *lines, peer.rest = (peer.rest + data).split(b'\n')
        for line in lines:
            content = json.loads(line)
            kind = content.pop('kind')
            if kind == 'failed':
                self._forward(RankFailure(**content), peer)
            elif kind == 'bye':
                return False
        if not data:
            self._forward(RankFailure(peer.rank, peer.process), peer)
        return bool(data)

    def _forward(self, failure: RankFailure, source: _Peer) -> None:
        if self.failure or self._closing:
            return
        self.failure = failure
        for peer in self._peers:
            if peer is not source:
                peer.send('failed', **asdict(failure))
        self.on_failure(failure)


def _own_store() -> tuple[dist.Store, str]:
    """A separate connection to the store of the process group, and its host.

    A thread that waits for a key may block the group's own connection for long.
    """
    store = dist.distributed_c10d._get_default_store()
    while isinstance(store, dist.PrefixStore):
        store = store.underlying_store
    if isinstance(store, dist.TCPStore):
        host = store.host
        return dist.TCPStore(host, store.port, is_master=False, wait_for_workers=False,
                             timeout=timedelta(seconds=CONNECT_TIMEOUT)), host
    return store, socket.gethostname()


def _listen(host: str) -> socket.socket:
    if host in ('localhost', '127.0.0.1'):
        return socket.create_server(('127.0.0.1', 0), backlog=1024)
    if socket.has_dualstack_ipv6():
        with suppress(OSError):  # There may be no IPv6 address to bind to.
            return socket.create_server(
                ('', 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
    return socket.create_server(('', 0), backlog=1024)


def _handshake(sock: socket.socket, token: str) -> _Peer | None:
    """The peer at the other end, if it belongs to this run."""
    try:
        sock.settimeout(5)
        line = b''
        # Byte by byte: what follows is for the thread to read.
        while not line.endswith(b'\n') and len(line) < 4096:
            byte = sock.recv(1)
            if not byte:
                break
            line += byte
        hello = json.loads(line)
        if hello['token'] == token:
            sock.settimeout(None)
            _keep_alive(sock)
            return _Peer(sock, int(hello['rank']), str(hello['process']))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # Somebody else, such as a port scanner.
    sock.close()
    return None


def _keep_alive(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in dict(TCP_KEEPIDLE=20, TCP_KEEPINTVL=5, TCP_KEEPCNT=4).items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _line(kind: str, **content) -> bytes:
    return json.dumps(dict(content, kind=kind)).encode() + b'\n'
