"""Connections between the processes of a run, which break when one of them dies."""
import json
import os
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from torch import distributed as dist

# Processes that have met in init_process_group are here a moment later.
TO_MEET = 60.0


@dataclass(frozen=True)
class Notice:
    """What became of a rank.

    Attributes:
        rank: The one that failed first, as far as this process was told.
        place: ``host, pid N`` of it.
        error: The line of its exception; empty if it was lost without a word.
        trace: Its traceback.
    """

    rank: int
    place: str
    error: str = ''
    trace: str = ''


@dataclass
class _Peer:
    sock: socket.socket
    rank: int
    place: str
    rest: bytes = b''
    # What may be sent by the thread and by the process itself.
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, kind: str, **content) -> None:
        # A peer that is gone shows when it is read from.
        with suppress(OSError), self.lock:
            self.sock.sendall(_line(kind, **content))


class RankLinks:
    """One socket between rank 0 and every other rank, and a thread that reads it.

    The kernel closes the socket of a process that dies, of whatever; it answers for
    one that is busy; a machine that is gone shows within a minute (keep-alive).
    Waiting costs nothing, and what a rank has to say comes through rank 0 to all.
    Building it is collective.

    Args:
        key: A name that all ranks give to this meeting, new each time.
        on_notice: Called in the thread, once, when another rank has failed or is lost.

    Raises:
        OSError: If the ranks cannot meet (``TimeoutError`` among them).
    """

    def __init__(self, key: str, on_notice: Callable[[Notice], None]) -> None:
        self.rank, self.world_size = dist.get_rank(), dist.get_world_size()
        self.place = f'{socket.gethostname()}, pid {os.getpid()}'
        self.on_notice, self.notice = on_notice, None
        self._closing = False
        store, host = _own_store()
        self._peers = (self._welcome(store, key, host) if self.rank == 0
                       else [self._go_to_rank_0(store, key)])
        threading.Thread(target=self._read, name='rank links', daemon=True).start()

    def tell(self, error: str, trace: str) -> None:
        """Tell all ranks that this one has failed."""
        for peer in self._peers:
            peer.send('failed', rank=self.rank, place=self.place, error=error,
                      trace=trace)

    def close(self) -> None:
        """Leave in peace."""
        self._closing = True
        for peer in self._peers:
            peer.send('bye')
            with suppress(OSError):
                peer.sock.shutdown(socket.SHUT_WR)

    def forget(self) -> None:
        """In a forked child: it must not keep the connections alive."""
        self._closing = True
        for peer in self._peers:
            peer.sock.close()

    def _welcome(self, store, key: str, host: str) -> list[_Peer]:
        token, peers = secrets.token_hex(16), []
        end = time.monotonic() + TO_MEET
        with _listen(host) as listener:
            store.set(key, json.dumps(dict(
                hosts=[host, socket.gethostname()], port=listener.getsockname()[1],
                token=token)))
            try:
                while len(peers) < self.world_size - 1:
                    listener.settimeout(max(end - time.monotonic(), 0.01))
                    peer = _greeted(listener.accept()[0], token)
                    if peer:
                        peer.send('hello', token=token, rank=0, place=self.place)
                        peers.append(peer)
            except OSError:
                for peer in peers:
                    peer.send('bye')
                raise
        return peers

    def _go_to_rank_0(self, store, key: str) -> _Peer:
        try:
            meeting = json.loads(store.get(key))
        except RuntimeError as error:  # The store's time-out, by torch's version.
            raise TimeoutError(f'rank 0 named no address: {error}') from error
        failure = None
        for host in dict.fromkeys(meeting['hosts']):
            try:
                sock = socket.create_connection((host, meeting['port']), TO_MEET / 4)
            except OSError as error:
                failure = error
                continue
            sock.sendall(_line(
                'hello', token=meeting['token'], rank=self.rank, place=self.place))
            peer = _greeted(sock, meeting['token'])
            if peer:
                return peer
        raise failure or TimeoutError(f'nobody answers at {meeting["hosts"]}')

    def _read(self) -> None:
        with selectors.DefaultSelector() as selector:
            for peer in self._peers:
                selector.register(peer.sock, selectors.EVENT_READ, peer)
            while selector.get_map():
                for key, _ in selector.select():
                    if not self._hear(key.data):
                        selector.unregister(key.fileobj)

    def _hear(self, peer: _Peer) -> bool:
        """Take what a peer sent; whether more may come."""
        try:
            data = peer.sock.recv(2**16)
        except OSError:
            data = b''
        *lines, peer.rest = (peer.rest + data).split(b'\n')
        for line in lines:
            content = json.loads(line)
            kind = content.pop('kind')
            if kind == 'failed':
                self._pass_on(Notice(**content), peer)
            elif kind == 'bye':
                return False
        if not data:
            self._pass_on(Notice(peer.rank, peer.place), peer)
        return bool(data)

    def _pass_on(self, notice: Notice, source: _Peer) -> None:
        if self.notice or self._closing:
            return
        self.notice = notice
        for peer in self._peers:
            if peer is not source:
                peer.send('failed', **vars(notice))
        self.on_notice(notice)


def _own_store() -> tuple[dist.Store, str]:
    """The store of the process group by a connection of our own, and its host.

    The group's own connection may be held for long by a thread that waits for a key.
    """
    store = dist.distributed_c10d._get_default_store()
    while isinstance(store, dist.PrefixStore):
        store = store.underlying_store
    if isinstance(store, dist.TCPStore):
        host = store.host
        return dist.TCPStore(host, store.port, is_master=False, wait_for_workers=False,
                             timeout=timedelta(seconds=TO_MEET)), host
    return store, socket.gethostname()


def _listen(host: str) -> socket.socket:
    if host in ('localhost', '127.0.0.1'):
        return socket.create_server(('127.0.0.1', 0), backlog=1024)
    if socket.has_dualstack_ipv6():
        with suppress(OSError):  # There may be no IPv6 address to bind to.
            return socket.create_server(
                ('', 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
    return socket.create_server(('', 0), backlog=1024)


def _greeted(sock: socket.socket, token: str) -> _Peer | None:
    """The peer at the other end, if it is one of this run."""
    try:
        sock.settimeout(5)
        line = b''
        # Byte by byte: what follows the greeting is the thread's.
        while not line.endswith(b'\n') and len(line) < 4096:
            byte = sock.recv(1)
            if not byte:
                break
            line += byte
        hello = json.loads(line)
        if hello['token'] == token:
            sock.settimeout(None)
            _keep_alive(sock)
            return _Peer(sock, int(hello['rank']), str(hello['place']))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # A stranger, such as a port scanner.
    sock.close()
    return None


def _keep_alive(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in dict(TCP_KEEPIDLE=20, TCP_KEEPINTVL=5, TCP_KEEPCNT=4).items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _line(kind: str, **content) -> bytes:
    return json.dumps(dict(content, kind=kind)).encode() + b'\n'
