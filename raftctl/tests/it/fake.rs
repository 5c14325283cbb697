//! A node that speaks the client protocol and does what a script says.
//!
//! It runs on plain threads, so that tests of the library (asynchronous) and of the command (a child process) can use
//! it alike. Everything it was sent is kept for the test to look at.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use raftd::api::{self, Code, Done, Request, Response, Served};
use tokio::net::TcpSocket;

/// What the node does about a request.
pub(crate) enum Act {
    /// It is carried out.
    Done(Done),
    /// It is refused.
    Refuse(api::Error),
    /// These bytes are sent, whatever they mean.
    Raw(String),
    /// Nothing is sent.
    Hang,
    /// The connection is closed.
    Close,
    /// Nothing is sent until that many requests wait; then all are done, the last one first.
    Gather(usize),
}

type Script = dyn FnMut(&Request) -> Act + Send;

pub(crate) struct FakeNode {
    pub(crate) id: u64,
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    hello: String,
    script: Mutex<Box<Script>>,
    requests: Mutex<Vec<Request>>,
    hellos: Mutex<Vec<String>>,
    gathered: Mutex<Vec<u64>>,
    streams: Mutex<Vec<TcpStream>>,
    connections: AtomicUsize,
    stopping: AtomicBool,
}

impl FakeNode {
    /// A node of cluster `demo` with commit index 17.
    pub(crate) fn start(id: u64, script: impl FnMut(&Request) -> Act + Send + 'static) -> FakeNode {
        let hello = format!(
            "{{\"hello\":{{\"protocol\":1,\"cluster\":\"demo\",\"node\":{id},\"commit\":17}}}}\n"
        );
        FakeNode::with_hello(id, &hello, script)
    }

    /// A node that greets with these bytes.
    pub(crate) fn with_hello(
        id: u64,
        hello: &str,
        script: impl FnMut(&Request) -> Act + Send + 'static,
    ) -> FakeNode {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            hello: hello.to_owned(),
            script: Mutex::new(Box::new(script)),
            requests: Mutex::default(),
            hellos: Mutex::default(),
            gathered: Mutex::default(),
            streams: Mutex::default(),
            connections: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        });
        let acceptor = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.accept(&listener))
        };
        FakeNode { id, addr, shared, acceptor: Some(acceptor) }
    }

    pub(crate) fn addr(&self) -> String {
        self.addr.to_string()
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Names of the writes so far.
    pub(crate) fn names(&self) -> Vec<String> {
        self.requests().into_iter().filter_map(|request| request.request).collect()
    }

    /// The hello lines of clients so far.
    pub(crate) fn hellos(&self) -> Vec<String> {
        self.shared.hellos.lock().unwrap().clone()
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Closes all connections; new ones are welcome.
    pub(crate) fn hang_up(&self) {
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        TcpStream::connect(self.addr).ok();
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().unwrap();
        }
        self.hang_up();
    }
}

impl Shared {
    fn accept(self: &Arc<Shared>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            let stream = stream.unwrap();
            self.connections.fetch_add(1, Ordering::SeqCst);
            self.streams.lock().unwrap().push(stream.try_clone().unwrap());
            let shared = Arc::clone(self);
            std::thread::spawn(move || shared.serve(&stream));
        }
    }

    /// Until the client goes away, or the script says so.
    fn serve(&self, stream: &TcpStream) -> Option<()> {
        let mut lines = BufReader::new(stream).lines();
        let write = |text: &str| (&*stream).write_all(text.as_bytes()).ok();
        let hello = lines.next()?.ok()?;
        self.hellos.lock().unwrap().push(hello);
        write(&self.hello)?;
        loop {
            let line = lines.next()?.ok()?;
            let request: Request = serde_json::from_str(&line).unwrap();
            self.requests.lock().unwrap().push(request.clone());
            let act = (self.script.lock().unwrap())(&request);
            match act {
                Act::Done(done) => write(&done_line(request.tag, done))?,
                Act::Refuse(error) => {
                    let answer = Response { tag: request.tag, ok: None, error: Some(error) };
                    write(&line_of(&answer))?;
                }
                Act::Raw(text) => write(&text)?,
                Act::Hang => {}
                Act::Close => {
                    stream.shutdown(Shutdown::Both).ok();
                    return None;
                }
                Act::Gather(count) => {
                    let mut gathered = self.gathered.lock().unwrap();
                    gathered.push(request.tag);
                    if gathered.len() == count {
                        for tag in gathered.drain(..).rev() {
                            write(&done_line(tag, at(tag)))?;
                        }
                    }
                }
            }
        }
    }
}

fn done_line(tag: u64, done: Done) -> String {
    line_of(&Response { tag, ok: Some(done), error: None })
}

fn line_of(answer: &Response) -> String {
    format!("{}\n", serde_json::to_string(answer).unwrap())
}

/// Done, at this index.
pub(crate) fn at(index: u64) -> Done {
    Done { index: Some(index), ..Done::default() }
}

/// A plain refusal.
pub(crate) fn error(code: Code) -> api::Error {
    api::Error::new(code, format!("scripted {code:?}"))
}

/// What a read's answer says about the node that served it.
pub(crate) fn served(node: u64) -> Served {
    Served { node, role: "follower".to_owned(), term: 3 }
}

/// An address that refuses connections for as long as the value lives: its port is taken, and nobody listens.
pub(crate) struct Refusing(SocketAddr, #[expect(dead_code, reason = "keeps the port")] TcpSocket);

impl Refusing {
    pub(crate) fn new() -> Refusing {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Refusing(socket.local_addr().unwrap(), socket)
    }

    pub(crate) fn addr(&self) -> String {
        self.0.to_string()
    }
}
