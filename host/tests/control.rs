//! The control socket: bounds, modes, and what happens to clients that misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use coshift_host::control::{Answer, ControlServer, MAX_CLIENTS, MAX_LINE, Request, ask};

/// A directory of its own, gone with the test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place =
            std::env::temp_dir().join(format!("coshift-control-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        Self(place)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("agent.sock")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

fn echo(request: Request) -> Answer {
    Answer::Done(format!("{request:?}"))
}

#[test]
fn requests_are_answered_and_the_socket_goes_with_the_server() {
    let place = Place::new("round");
    let server = ControlServer::start(&place.socket(), echo).unwrap();
    let mode = std::fs::metadata(place.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let request = Request::AppsRm { name: "cam0".into() };
    let answer = ask(&place.socket(), &request).unwrap();
    assert_eq!(answer, Answer::Done(format!("{request:?}")));
    drop(server);
    assert!(!place.socket().exists());
    let fault = ask(&place.socket(), &request).unwrap_err().to_string();
    assert!(fault.contains("no agent answers at"), "{fault}");
}

#[test]
fn one_connection_asks_several_times_and_garbage_is_answered() {
    let place = Place::new("garbage");
    let _server = ControlServer::start(&place.socket(), echo).unwrap();
    let mut stream = UnixStream::connect(place.socket()).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut say = |text: &[u8]| {
        stream.write_all(text).unwrap();
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line
    };
    assert!(say(b"{\"do\":\"status\"}\n").starts_with("{\"done\":"));
    assert!(say(b"hello\n").starts_with("{\"error\":\"no request"));
    assert!(say(b"\xff\xfe\x00\n").starts_with("{\"error\":\"no request"));
    assert!(say(b"{\"do\":\"apps-rm\"}\n").contains("missing field `name`"));
    assert!(say(b"{\"do\":\"apps-rm\",\"name\":\"a\"}\n").starts_with("{\"done\":"));
}

#[test]
fn a_line_that_is_too_long_ends_the_connection() {
    let place = Place::new("long");
    let _server = ControlServer::start(&place.socket(), echo).unwrap();
    let mut stream = UnixStream::connect(place.socket()).unwrap();
    // Exactly as much as is read: the answer then comes whole.
    stream.write_all(&vec![b'x'; MAX_LINE]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("{\"error\":\"a request is one line of at most 4096 bytes"));
    let request = Request::Status {};
    assert_eq!(ask(&place.socket(), &request).unwrap(), echo(request));
}

#[test]
fn clients_beyond_the_limit_are_turned_away_and_let_in_later() {
    let place = Place::new("many");
    let _server = ControlServer::start(&place.socket(), echo).unwrap();
    let mut open: Vec<_> = (0..MAX_CLIENTS)
        .map(|_| {
            let mut stream = UnixStream::connect(place.socket()).unwrap();
            // An answer shows that the client is in.
            stream.write_all(b"{\"do\":\"status\"}\n").unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            stream
        })
        .collect();
    let mut one_more = UnixStream::connect(place.socket()).unwrap();
    let mut answer = String::new();
    one_more.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("clients are connected"), "{answer}");
    open.clear();
    // Their threads notice in their own time.
    let let_in = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        matches!(ask(&place.socket(), &Request::Status {}), Ok(Answer::Done(_)))
    });
    assert!(let_in);
}

#[test]
fn a_left_socket_is_replaced_and_a_live_one_or_a_file_is_not() {
    let place = Place::new("left");
    drop(UnixListener::bind(place.socket()).unwrap());
    assert!(place.socket().exists());
    let server = ControlServer::start(&place.socket(), echo).unwrap();
    let fault = ControlServer::start(&place.socket(), echo).unwrap_err().to_string();
    assert!(fault.contains("another agent answers there"), "{fault}");
    drop(server);
    std::fs::write(place.socket(), "precious").unwrap();
    let fault = ControlServer::start(&place.socket(), echo).unwrap_err().to_string();
    assert!(fault.contains("no socket is there"), "{fault}");
    assert_eq!(std::fs::read_to_string(place.socket()).unwrap(), "precious");
}
