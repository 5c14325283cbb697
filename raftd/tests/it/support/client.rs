//! A client that speaks the protocol by hand, so that tests can also speak it badly.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::{Value, json};

use super::wait::DEADLINE;

/// One connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    tag: u64,
}

impl Client {
    /// Connects, and says nothing yet.
    pub(crate) fn connect(address: SocketAddr) -> std::io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(Client { stream: BufReader::new(stream), tag: 0 })
    }

    /// Connects and says hello properly.
    pub(crate) fn open(address: SocketAddr) -> std::io::Result<Client> {
        let mut client = Client::connect(address)?;
        client.send(json!({"hello": {"protocol": 1}}).to_string().as_bytes())?;
        client.send(b"\n")?;
        let hello = client.receive()?;
        assert_eq!(hello["hello"]["protocol"], 1, "{hello}");
        Ok(client)
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&mut self) {
        self.stream.get_mut().shutdown(Shutdown::Write).unwrap();
    }

    /// The next line.
    pub(crate) fn receive(&mut self) -> std::io::Result<Value> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&line)?)
    }

    /// Sends a request without waiting for the answer; its tag.
    pub(crate) fn ask(&mut self, request: Option<&str>, op: &Value) -> std::io::Result<u64> {
        self.tag += 1;
        let mut line = json!({"tag": self.tag, "op": op});
        if let Some(request) = request {
            line["request"] = request.into();
        }
        self.send(format!("{line}\n").as_bytes())?;
        Ok(self.tag)
    }

    /// A request and its answer.
    pub(crate) fn call(&mut self, request: Option<&str>, op: &Value) -> std::io::Result<Value> {
        let tag = self.ask(request, op)?;
        let answer = self.receive()?;
        assert_eq!(answer["tag"], tag, "{answer}");
        Ok(answer)
    }

    /// [`Client::call`] of a put.
    pub(crate) fn put(&mut self, request: &str, key: &str, value: &str) -> std::io::Result<Value> {
        self.call(Some(request), &json!({"put": {"key": key, "value": value}}))
    }

    /// [`Client::call`] of a linearizable get.
    pub(crate) fn get(&mut self, key: &str) -> std::io::Result<Value> {
        self.call(None, &json!({"get": {"key": key}}))
    }

    /// The node's view of itself.
    pub(crate) fn status(&mut self) -> std::io::Result<Value> {
        self.call(None, &json!("status")).map(|answer| answer["ok"]["status"].clone())
    }

    /// Expects that the node closes the connection and says nothing more.
    pub(crate) fn expect_end(&mut self) {
        let mut rest = Vec::new();
        let end = self.stream.read_to_end(&mut rest);
        assert!(
            end.as_ref().is_ok_and(|count| *count == 0)
                || end
                    .as_ref()
                    .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset),
            "{end:?}, {:?}",
            String::from_utf8_lossy(&rest)
        );
    }
}
