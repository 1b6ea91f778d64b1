//! A hub that lies: each test is an attack by a server (or by a name that a person wrote). `Was`
//! says what the same attack was seen to do to the client that was here before, hf-hub 0.5.0 behind
//! a few checks (2026-11-25).
//!
//! Whatever happens, nothing appears outside of the cache: every fetch is followed by a look.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod server;

use paretopo_hub::{Hub, Kind, Patience};
use server::{COMMIT, Request, Server, announce, git_hash, reply};
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const TOKEN: &str = "hf_secret";
const CONTENT: &[u8] = b"hello\n";

/// A folder with a cache in it, and what else is in it.
struct Scene {
    folder: tempfile::TempDir,
    patience: Patience,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("home/hub")).unwrap();
        std::fs::write(folder.path().join("precious"), "precious").unwrap();
        let second = Duration::from_secs(1);
        let patience = Patience {
            connect: second,
            headers: second,
            silence: second,
            listing: 2 * second,
            slowest: 1024,
        };
        Self { folder, patience }
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("home/hub")
    }

    fn repository(&self) -> PathBuf {
        self.cache().join("models--a--b")
    }

    fn hub(&self, server: &Server) -> Hub {
        Hub::new(&server.address, self.cache(), Some(TOKEN.into()), self.patience).unwrap()
    }

    /// Fetches a file of `a/b` at `main`, or says why not.
    fn fetch(&self, server: &Server, file: &str) -> Result<PathBuf, String> {
        self.fetch_at(server, "a/b", "main", file)
    }

    fn fetch_at(
        &self,
        server: &Server,
        name: &str,
        revision: &str,
        file: &str,
    ) -> Result<PathBuf, String> {
        let repository = self.hub(server).repository(Kind::Model, name, revision);
        let result = repository.and_then(|repository| match file {
            "--list" => repository.list().map(|names| PathBuf::from(names.join(","))),
            file => repository.file(file, &mut |_, _, _| {}),
        });
        self.assert_untouched();
        result.map_err(|error| error.to_string())
    }

    /// Nothing beside the cache was made or changed.
    #[track_caller]
    fn assert_untouched(&self) {
        let names = |folder: &Path| {
            let entries = std::fs::read_dir(folder).unwrap().flatten();
            let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(self.folder.path()), ["home", "precious"]);
        assert_eq!(names(&self.folder.path().join("home")), ["hub"]);
        let allowed = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("models--");
        let found = names(&self.cache());
        assert!(found.iter().all(allowed), "{found:?}");
        let precious = std::fs::read_to_string(self.folder.path().join("precious")).unwrap();
        assert_eq!(precious, "precious");
    }
}

#[track_caller]
fn refused(result: Result<PathBuf, String>, word: &str) -> String {
    let error = result.expect_err("it should be refused");
    assert!(error.contains(word), "{error}");
    error
}

/// An honest hub with one file.
fn honest(request: &Request, stream: &mut TcpStream) -> std::io::Result<()> {
    let head = announce(CONTENT, request);
    stream.write_all(head.as_bytes())?;
    stream.write_all(&CONTENT[request.from.min(CONTENT.len())..request.to(CONTENT.len())])
}

#[test]
fn an_honest_hub_is_understood() {
    let scene = Scene::new();
    let server = Server::start(honest);
    let path = scene.fetch(&server, "f").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), CONTENT);
    let repository = scene.repository();
    assert_eq!(path, repository.join("snapshots").join(COMMIT).join("f"));
    assert_eq!(std::fs::read_to_string(repository.join("refs/main")).unwrap(), COMMIT);
    let link = std::fs::read_link(&path).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(git_hash(CONTENT)));
    // cached: nobody is asked
    let asked = server.requests().len();
    assert_eq!(scene.fetch(&server, "f"), Ok(path));
    assert_eq!(server.requests().len(), asked);
    // the same content of another name is not sent again
    let other = scene.fetch(&server, "d/e/g").unwrap();
    assert_eq!(std::fs::read(&other).unwrap(), CONTENT);
    assert!(std::fs::read_link(&other).unwrap().starts_with("../../../../blobs"));
    assert_eq!(server.requests().len(), asked + 1);
    assert!(server.requests().iter().all(|request| request.token.as_deref() == Some(TOKEN)));
}

/// Was: `precious` was overwritten, and `precious.lock` made beside it.
#[test]
fn an_etag_is_no_path() {
    for etag in [
        "\"../../../../precious\"",
        "../../../escaped",
        "/tmp/paretopo-escaped",
        "W/\"../../x\"",
        "..",
        ".",
        "a/b",
        "a\\..\\b",
        "%2e%2e/x",
    ] {
        let scene = Scene::new();
        let etag = etag.to_owned();
        let server = Server::start(move |request, stream| {
            let head = announce(CONTENT, request);
            let head = head.replace(&format!("\"{}\"", git_hash(CONTENT)), &etag);
            stream.write_all(head.as_bytes())?;
            stream.write_all(&CONTENT[request.from.min(6)..request.to(6)])
        });
        let path = scene.fetch(&server, "f").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), CONTENT);
        let blob = path.canonicalize().unwrap();
        let blobs = scene.repository().join("blobs").canonicalize().unwrap();
        assert_eq!(blob.parent().unwrap(), blobs);
    }
    assert!(!Path::new("/tmp/paretopo-escaped").exists());
}

/// Was: without, an error; with an empty one, files beside `blobs` and `Not a directory`; with a
/// long one `File name too long`.
#[test]
fn an_etag_that_is_none_is_refused_and_a_long_one_is_taken() {
    let long = format!("etag: {}\r\n", "a".repeat(10_000));
    for (etag, taken) in
        [("", false), ("etag: \"\"\r\n", false), ("etag: W/\"\"\r\n", false), (&long, true)]
    {
        let scene = Scene::new();
        let etag = etag.to_owned();
        let server = Server::start(move |request, stream| {
            let head = announce(CONTENT, request);
            let head = head.replace(&format!("etag: \"{}\"\r\n", git_hash(CONTENT)), &etag);
            stream.write_all(head.as_bytes())?;
            stream.write_all(&CONTENT[request.from.min(6)..request.to(6)])
        });
        let fetched = scene.fetch(&server, "f");
        match taken {
            true => assert_eq!(std::fs::read(fetched.unwrap()).unwrap(), CONTENT),
            false => drop(refused(fetched, "it gives no `etag`")),
        }
    }
}

/// Was: the first became the second.
#[test]
fn two_files_with_one_etag_stay_two() {
    let scene = Scene::new();
    let server = Server::start(|request, stream| {
        let content = request.path.as_bytes().to_vec();
        let head = announce(&content, request).replace(&git_hash(&content), "the-same");
        stream.write_all(head.as_bytes())?;
        stream.write_all(&content[request.from.min(content.len())..request.to(content.len())])
    });
    let one = scene.fetch(&server, "one").unwrap();
    let two = scene.fetch(&server, "two").unwrap();
    assert!(std::fs::read_to_string(one).unwrap().ends_with("/one"));
    assert!(std::fs::read_to_string(two).unwrap().ends_with("/two"));
}

/// Was: the link `escaped/f` was made beside the cache and `/tmp/paretopo-escaped/f` in `/tmp`, and
/// `refs/main` kept such a commit for the next time.
#[test]
fn a_commit_is_forty_hexadecimal_digits() {
    for commit in [
        "../../../../escaped",
        "/tmp/paretopo-escaped",
        "main",
        "",
        "..",
        "0123456789abcdef0123456789abcdef0123456",
        "0123456789abcdef0123456789abcdef012345678",
        "0123456789abcdef0123456789abcdef0123456g",
    ] {
        let scene = Scene::new();
        let commit = commit.to_owned();
        let server = Server::start(move |request, stream| {
            stream.write_all(announce(CONTENT, request).replace(COMMIT, &commit).as_bytes())?;
            stream.write_all(&CONTENT[request.from.min(6)..request.to(6)])
        });
        refused(scene.fetch(&server, "f"), "not 40 hexadecimal digits");
    }
    assert!(!Path::new("/tmp/paretopo-escaped").exists());
}

/// Was: another was taken.
#[test]
fn a_commit_that_was_asked_for_is_the_one_that_comes() {
    let scene = Scene::new();
    let server = Server::start(honest);
    let other = "f".repeat(40);
    refused(scene.fetch_at(&server, "a/b", &other, "f"), "it answers with commit");
    scene.fetch_at(&server, "a/b", COMMIT, "f").unwrap();
    // as Python does, no reference is kept for what is a commit already
    assert!(!scene.repository().join("refs").exists());
    let asked = server.requests().len();
    scene.fetch_at(&server, "a/b", COMMIT, "f").unwrap();
    assert_eq!(server.requests().len(), asked);
}

/// Was: the files `escaped`, `x` and `/tmp/paretopo-escaped` were written; names were folders of
/// the cache as they stood, and `/a`, `a/..` and `a/b?x=1` were asked for.
#[test]
fn names_that_people_write_are_checked() {
    let scene = Scene::new();
    let server = Server::start(honest);
    for revision in ["../../../../escaped", "/tmp/paretopo-escaped", "a/../../../../../x", "a\nb"] {
        refused(scene.fetch_at(&server, "a/b", revision, "f"), "is not a revision\nhint: ");
    }
    for name in ["../b", "a/..", "a/b/../../c", "/a", "a--b", "a/b?x=1", "a/b\n"] {
        refused(
            scene.fetch_at(&server, name, "main", "f"),
            "is not the name of a repository\nhint",
        );
    }
    assert!(server.requests().is_empty());
    assert!(!Path::new("/tmp/paretopo-escaped").exists());
    // a branch in folders
    scene.fetch_at(&server, "a/b", "refs/pr/7", "f").unwrap();
    assert!(server.requests()[0].path.starts_with("/a/b/resolve/refs%2Fpr%2F7/f"));
    assert_eq!(std::fs::read_to_string(scene.repository().join("refs/refs/pr/7")).unwrap(), COMMIT);
}

/// Was: `..` and absolute names were refused; a backslash was taken, a line break printed, and what
/// stood in a name was part of the address (`?`, `#`, `%2e`).
#[test]
fn files_have_names_inside_their_repository() {
    let scene = Scene::new();
    let server = Server::start(honest);
    let long = "a".repeat(300);
    for name in
        ["../f", "/etc/passwd", "a/../../f", "a\\..\\f", "a\nb", "a\0b", "a//b", ".", &long, ""]
    {
        refused(scene.fetch(&server, name), "no place inside a repository");
    }
    assert!(server.requests().is_empty());
    // what an address could take for more is a name like any other
    scene.fetch(&server, "a b/%2e%2e/x?y#z").unwrap();
    assert_eq!(server.requests()[0].path, "/a/b/resolve/main/a%20b/%252e%252e/x%3Fy%23z");
}

/// Was: more than 10 MB were refused; names were not counted, and a listing that came slowly was
/// waited for without end.
#[test]
fn a_listing_is_bounded() {
    let scene = Scene::new();
    let body = |count: usize| {
        let names = vec!["{\"rfilename\":\"\"}"; count].join(",");
        format!("{{\"sha\":\"{COMMIT}\",\"siblings\":[{names}]}}")
    };
    let listed = |body: String| {
        let server = Server::start(move |_, stream| reply(stream, "200 OK", "", body.as_bytes()));
        scene.fetch(&server, "--list")
    };
    listed(body(100_000)).unwrap();
    refused(listed(body(1_000_001)), "it lists more than 1000000 files");
    refused(listed("[".repeat(100_000)), "its listing is unreadable");
    refused(listed("{\"siblings\":[{\"rfilename\":3}]}".into()), "its listing is unreadable");
    // without end
    let server = Server::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"siblings\":[")?;
        loop {
            stream.write_all(&[b' '; 1 << 16])?;
        }
    });
    refused(scene.fetch(&server, "--list"), "");
}

/// Was: the token went with the question for the size to whatever address the hub named.
#[test]
fn the_token_goes_to_the_hub_alone() {
    // the port is another server's
    let elsewhere = Server::start(honest);
    let target = elsewhere.address.clone();
    let hub = Server::start(move |request, stream| {
        let head = announce(CONTENT, request);
        let headers: String = head
            .lines()
            .filter(|line| line.starts_with("x-") || line.starts_with("etag"))
            .map(|line| format!("{line}\r\n"))
            .collect();
        let location = format!("{headers}Location: {target}/bytes\r\n");
        reply(stream, "302 Found", &location, b"")
    });
    let scene = Scene::new();
    let path = scene.fetch(&hub, "f").unwrap();
    assert_eq!(std::fs::read(path).unwrap(), CONTENT);
    assert!(hub.requests().iter().all(|request| request.token.as_deref() == Some(TOKEN)));
    let seen = elsewhere.requests();
    assert!(seen.len() >= 2 && seen.iter().all(|request| request.token.is_none()), "{seen:?}");
}

/// Was: the hub could send to itself without end; 12,314 requests were counted in eight seconds.
#[test]
fn redirections_are_few_and_lead_to_the_web() {
    let scene = Scene::new();
    let rounds = AtomicUsize::new(0);
    let server = Server::start(move |_, stream| {
        let round = rounds.fetch_add(1, Ordering::SeqCst);
        reply(stream, "307 Temporary Redirect", &format!("Location: /round/{round}\r\n"), b"")
    });
    refused(scene.fetch(&server, "f"), "it redirects more than 10 times");
    assert_eq!(server.requests().len(), 11);
    refused(scene.fetch(&server, "--list"), "it redirects more than 10 times");
    for location in [
        "file:///etc/passwd",
        "ftp://127.0.0.1/f",
        "gopher://127.0.0.1:25/x",
        "http://",
        "//[::1",
        "http://user:password@127.0.0.1/f",
    ] {
        let header = format!("Location: {location}\r\n");
        let server = Server::start(move |_, stream| reply(stream, "302 Found", &header, b""));
        refused(scene.fetch(&server, "f"), "it redirects to ");
    }
    let server = Server::start(|_, stream| reply(stream, "302 Found", "", b""));
    refused(scene.fetch(&server, "f"), "it redirects to nowhere");
}

/// Was: written on and on, until the disk would have been full.
#[test]
fn a_body_ends_where_it_was_announced_to() {
    let scene = Scene::new();
    let server = Server::start(|request, stream| {
        let head = announce(CONTENT, request);
        if request.range == "bytes=0-0" {
            stream.write_all(head.as_bytes())?;
            return stream.write_all(&CONTENT[..1]);
        }
        // no length, and no end
        stream.write_all(head.replace("Content-Length", "x-length").as_bytes())?;
        stream.write_all(CONTENT)?;
        loop {
            stream.write_all(&[b'x'; 1 << 16])?;
        }
    });
    let path = scene.fetch(&server, "f").unwrap();
    assert_eq!(std::fs::read(path).unwrap(), CONTENT);
}

/// What a server says of lengths and ranges, and what the client says.
/// Was: what is no number was refused; a part of another place or total, and an announcement of
/// 2^64 - 1 bytes, were taken (here the checksum was right).
#[test]
fn lengths_and_ranges_are_held_against_each_other() {
    let cases: &[(&str, &str, &str)] = &[
        // at the question, then at the download
        ("Content-Range: bytes 0-0/x\r\n", "", "it announces no length"),
        ("Content-Range: bytes 0-0/-6\r\n", "", "it announces no length"),
        ("Content-Range: bytes 0-0/99999999999999999999\r\n", "", "it announces no length"),
        ("", "", "it announces no length"),
        (
            "Content-Range: bytes 0-0/6\r\n",
            "Content-Range: bytes 0-5/7\r\n",
            "it sends `bytes 0-5/7`",
        ),
        (
            "Content-Range: bytes 0-0/6\r\n",
            "Content-Range: bytes 3-5/6\r\n",
            "it sends `bytes 3-5/6`",
        ),
        ("Content-Range: bytes 0-0/6\r\n", "", "it sends ``"),
        ("Content-Range: bytes 0-0/18446744073709551615\r\n", "", "has room for"),
        ("x-linked-size: -1\r\nContent-Range: bytes 0-0/6\r\n", "", "`x-linked-size` is no number"),
        ("Content-Range: bytes 0-0/6\r\nContent-Length: -5\r\n", "", "cannot fetch"),
    ];
    for (first, then, word) in cases {
        let scene = Scene::new();
        let (first, then) = (first.to_string(), then.to_string());
        let server = Server::start(move |request, stream| {
            let (range, body) = match request.range.as_str() {
                "bytes=0-0" => (&first, &CONTENT[..1]),
                _ => (&then, CONTENT),
            };
            let hash = git_hash(CONTENT);
            let head = format!("x-repo-commit: {COMMIT}\r\netag: \"{hash}\"\r\n{range}");
            reply(stream, "206 Partial Content", &head, body)
        });
        refused(scene.fetch(&server, "f"), word);
    }
}

/// Was: gone on with; the whole answer of a server without ranges was added to the half, and all of
/// it fetched again.
#[test]
fn a_download_that_broke_off_goes_on() {
    for knows_ranges in [true, false] {
        let scene = Scene::new();
        let content: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let size = content.len();
        let breaks = AtomicUsize::new(0);
        let server = Server::start(move |request, stream| {
            let head = announce(&content, request);
            if request.range == "bytes=0-0" {
                stream.write_all(head.as_bytes())?;
                return stream.write_all(&content[..1]);
            }
            if !knows_ranges {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
                stream.write_all(head.as_bytes())?;
            } else {
                stream.write_all(head.as_bytes())?;
            }
            let from = if knows_ranges { request.from } else { 0 };
            let rest = &content[from..];
            match breaks.fetch_add(1, Ordering::SeqCst) < 2 {
                true => stream.write_all(&rest[..rest.len() / 2]),
                false => stream.write_all(rest),
            }
        });
        let path = scene.fetch(&server, "f").unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().len(), size as u64);
        let ranges: Vec<String> =
            server.requests().into_iter().map(|request| request.range).collect();
        let half = format!("bytes={}-", size / 2);
        assert_eq!(ranges[..3], ["bytes=0-0", "bytes=0-", half.as_str()], "{ranges:?}");
        assert_eq!(ranges.len(), 4);
    }
}

/// What a killed process left is gone on with; too much of it, or something else, is not.
/// Was: gone on with; too much was `Invalid part file` at each attempt.
#[test]
fn what_an_earlier_download_left_is_used_or_dropped() {
    for (left, first) in [
        (&b"hel"[..], Some("bytes=3-")),
        (&b"hello\nand more"[..], Some("bytes=0-")),
        (&b"hello\n"[..], None),
        (&b"HEL"[..], Some("bytes=3-")),
    ] {
        let scene = Scene::new();
        let server = Server::start(honest);
        let blobs = scene.repository().join("blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::write(blobs.join(git_hash(CONTENT) + ".part"), left).unwrap();
        let path = scene.fetch(&server, "f").unwrap();
        assert_eq!(std::fs::read(path).unwrap(), CONTENT);
        let requests = server.requests();
        assert_eq!(requests.get(1).map(|request| request.range.as_str()), first);
    }
}

/// Was: the part was written through into `precious`, the lock emptied it, `blobs` and the like led
/// anywhere; a link at the file's own place was `File exists`.
#[cfg(unix)]
#[test]
fn planted_links_are_not_written_through() {
    use std::os::unix::fs::symlink;
    let hash = git_hash(CONTENT);
    // what is planted below the repository's folder, and where it leads
    let cases = [
        (format!("blobs/{hash}.part"), "precious", false),
        (format!("blobs/{hash}.lock"), "precious", false),
        (format!("blobs/{hash}"), "precious", true),
        (format!("snapshots/{COMMIT}/d/f"), "missing", true),
        (format!("snapshots/{COMMIT}/d"), "home", false),
        (format!("snapshots/{COMMIT}"), "home", false),
        ("snapshots".into(), "home", false),
        ("blobs".into(), "home", false),
        ("refs".into(), "home", false),
        ("refs/main".into(), "precious", true),
    ];
    for (place, target, replaced) in cases {
        let scene = Scene::new();
        let server = Server::start(honest);
        let place = scene.repository().join(place);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        symlink(scene.folder.path().join(target), &place).unwrap();
        let fetched = scene.fetch(&server, "d/f");
        match replaced {
            true => assert_eq!(std::fs::read(fetched.unwrap()).unwrap(), CONTENT, "{place:?}"),
            false => drop(refused(fetched, "leads out of the repository's folder in the cache")),
        }
    }
}

/// Was: read, wherever it led.
#[cfg(unix)]
#[test]
fn a_cached_file_lies_in_its_repository() {
    let scene = Scene::new();
    let server = Server::start(honest);
    let path = scene.fetch(&server, "f").unwrap();
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(scene.folder.path().join("precious"), &path).unwrap();
    let error = refused(scene.fetch(&server, "f"), "leads out of the repository's folder");
    assert!(error.contains("hint: remove it"));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(std::fs::read(scene.fetch(&server, "f").unwrap()).unwrap(), CONTENT);
    // the whole repository on another disk is a person's own link
    let moved = scene.cache().join("models--elsewhere");
    std::fs::rename(scene.repository(), &moved).unwrap();
    std::os::unix::fs::symlink(&moved, scene.repository()).unwrap();
    assert_eq!(std::fs::read(scene.fetch(&server, "f").unwrap()).unwrap(), CONTENT);
    assert_eq!(std::fs::read(scene.fetch(&server, "g").unwrap()).unwrap(), CONTENT);
}

/// Was: headers, listings and bodies that came drop by drop were waited for without end.
#[test]
fn waiting_ends() {
    let drip = |stream: &mut TcpStream, text: &[u8]| -> std::io::Result<()> {
        for byte in text.iter().cycle() {
            stream.write_all(&[*byte])?;
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    };
    let timed = |scene: &Scene, server: &Server, file: &str| {
        let started = Instant::now();
        let error = scene.fetch(server, file).expect_err("it should be given up");
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}: {error}", started.elapsed());
        error
    };
    let mut scene = Scene::new();
    scene.patience.silence = Duration::from_millis(300);
    scene.patience.headers = Duration::from_millis(500);
    scene.patience.listing = Duration::from_millis(500);
    // headers without end, slowly
    let server = Server::start(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
        drip(stream, b"x: y\r\n")
    });
    timed(&scene, &server, "f");
    timed(&scene, &server, "--list");
    // and fast
    let server = Server::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
        loop {
            stream.write_all(b"x: y\r\n")?;
        }
    });
    timed(&scene, &server, "f");
    // a listing that drips
    let server = Server::start(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        drip(stream, b" ")
    });
    timed(&scene, &server, "--list");
    // a body that drips, and one that stops
    for stops in [false, true] {
        let server = Server::start(move |request, stream| {
            let content = [b'x'; 1 << 20];
            stream.write_all(announce(&content, request).as_bytes())?;
            if request.range == "bytes=0-0" {
                return stream.write_all(b"x");
            }
            match stops {
                false => drip(stream, b"x"),
                true => {
                    std::thread::sleep(Duration::from_secs(30));
                    Ok(())
                }
            }
        });
        let error = timed(&scene, &server, "f");
        assert!(stops || error.contains("bytes arrived in"), "{error}");
    }
}

/// Was: the same, with one request more.
#[test]
fn what_is_damaged_is_fetched_again_once() {
    let scene = Scene::new();
    let server = Server::start(|request, stream| {
        stream.write_all(announce(CONTENT, request).as_bytes())?;
        stream.write_all(&b"jello\n"[request.from.min(6)..request.to(6)])
    });
    refused(scene.fetch(&server, "f"), "arrived damaged twice");
    assert_eq!(server.requests().len(), 3);
    let left: Vec<_> = std::fs::read_dir(scene.repository().join("blobs")).unwrap().collect();
    assert_eq!(left.len(), 1, "only the lock: {left:?}");
}

/// Two processes that want the same file fetch it once.
/// Was: both fetched it, one after the other; the second gave up after five seconds of the first.
#[test]
fn one_fetches_for_two() {
    let scene = Scene::new();
    let server = Server::start(|request, stream| {
        if request.range != "bytes=0-0" {
            std::thread::sleep(Duration::from_millis(300));
        }
        honest(request, stream)
    });
    std::thread::scope(|scope| {
        let one = scope.spawn(|| scene.fetch(&server, "f"));
        let two = scope.spawn(|| scene.fetch(&server, "f"));
        assert_eq!(one.join().unwrap().unwrap(), two.join().unwrap().unwrap());
    });
    let bodies = server.requests().iter().filter(|one| one.range != "bytes=0-0").count();
    assert_eq!(bodies, 1);
}

/// A cache as `huggingface_hub` 1.x leaves it, with what it keeps beside.
#[cfg(unix)]
#[test]
fn what_python_fetched_is_not_fetched_again() {
    let scene = Scene::new();
    let repository = scene.repository();
    let snapshot = repository.join("snapshots").join(COMMIT);
    for folder in ["blobs", "refs/refs/pr", &format!(".no_exist/{COMMIT}")] {
        std::fs::create_dir_all(repository.join(folder)).unwrap();
    }
    std::fs::create_dir_all(snapshot.join("data")).unwrap();
    let blob = git_hash(CONTENT);
    std::fs::write(repository.join("blobs").join(&blob), CONTENT).unwrap();
    std::fs::write(repository.join("refs/main"), COMMIT).unwrap();
    std::fs::write(repository.join("refs/refs/pr/1"), COMMIT).unwrap();
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(format!("{target}{blob}"), snapshot.join(name)).unwrap();
    };
    link("../../blobs/", "config.json");
    link("../../../blobs/", "data/x.json");
    // where links cannot be made, it writes files
    std::fs::write(snapshot.join("plain"), CONTENT).unwrap();
    let server = Server::start(honest);
    for revision in ["main", "refs/pr/1", COMMIT] {
        for file in ["config.json", "data/x.json", "plain"] {
            let path = scene.fetch_at(&server, "a/b", revision, file).unwrap();
            assert_eq!(std::fs::read(path).unwrap(), CONTENT);
        }
    }
    assert!(server.requests().is_empty());
}
