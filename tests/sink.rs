//! What a sink leaves behind, and what it refuses.

use std::fs;
use std::io;
use std::path::Path;

use auricle::format::{Container, FileError, SampleFormat, SignalSpec, Template};
use auricle::stage::sink::{Output, Sink, SinkOptions};

use crate::files::{drain, fmt, folder, message_of, names_in, open, put, wav_bytes};

const FORCE: SinkOptions = SinkOptions { force: true, format: None };

fn template() -> Template {
    Template::new(SignalSpec::raw(SampleFormat::F32, Some(16_000.0), 1))
}

fn create(path: &Path) -> Result<Sink, FileError> {
    Sink::create(path, &template(), &SinkOptions::default())
}

#[test]
fn nothing_shows_before_the_end_and_nothing_stays_after_a_drop() {
    let folder = folder();
    let path = folder.path().join("out.wav");
    let mut sink = create(&path).unwrap();
    sink.write(&[0.5; 100]).unwrap();
    let names = names_in(&folder);
    assert_eq!(names.len(), 1, "{names:?}");
    let prefix = format!(".auricle-{}-", std::process::id());
    assert!(names[0].starts_with(&prefix), "hidden, with the process id: {names:?}");
    drop(sink);
    assert_eq!(names_in(&folder), [""; 0], "dropped");
    create(&path).unwrap().finish().unwrap();
    assert_eq!(names_in(&folder), ["out.wav"], "finished");
}

#[test]
fn an_older_file_stays_until_it_is_replaced() {
    let folder = folder();
    let path = put(&folder, "out.f32", b"older");
    assert!(matches!(create(&path), Err(FileError::OutputExists { .. })), "not without force");
    assert!(message_of(create(&path), "out.f32").contains("--force"), "the fix");
    let mut sink = Sink::create(&path, &template(), &FORCE).unwrap();
    sink.write(&[1.0]).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"older", "untouched while writing");
    drop(sink);
    assert_eq!(fs::read(&path).unwrap(), b"older", "untouched by a failed run");
    let mut sink = Sink::create(&path, &template(), &FORCE).unwrap();
    sink.write(&[1.0]).unwrap();
    sink.finish().unwrap();
    assert_eq!(fs::read(&path).unwrap(), 1_f32.to_le_bytes(), "replaced");
    assert_eq!(names_in(&folder), ["out.f32"], "nothing else");
}

#[test]
fn a_file_that_appears_meanwhile_is_not_replaced() {
    let folder = folder();
    let path = folder.path().join("out.f32");
    let sink = create(&path).unwrap();
    put(&folder, "out.f32", b"faster");
    let late = sink.finish();
    assert!(matches!(late, Err(FileError::OutputExists { .. })), "{late:?}");
    assert_eq!(fs::read(&path).unwrap(), b"faster", "untouched");
    assert_eq!(names_in(&folder), ["out.f32"], "nothing else");
}

#[test]
fn the_input_is_never_the_output() {
    let folder = folder();
    let bytes = wav_bytes(&fmt(1, 1, 8000, 16), &[0; 8]);
    let input = put(&folder, "in.wav", &bytes);
    fs::create_dir(folder.path().join("sub")).unwrap();
    let mut others = vec![input.clone(), folder.path().join("sub/../in.wav")];
    #[cfg(unix)]
    {
        let [soft, hard] = ["soft.wav", "hard.wav"].map(|name| folder.path().join(name));
        std::os::unix::fs::symlink(&input, &soft).unwrap();
        fs::hard_link(&input, &hard).unwrap();
        others.extend([soft, hard]);
    }
    let source = open(&input).unwrap();
    for other in others {
        let refused = Sink::create(&other, source.template(), &FORCE);
        assert!(matches!(refused, Err(FileError::OutputIsInput { .. })), "{other:?} {refused:?}");
    }
    assert_eq!(fs::read(&input).unwrap(), bytes, "untouched");
}

#[test]
fn either_half_of_a_sigmf_input_is_the_input() {
    let folder = folder();
    put(&folder, "x.sigmf-data", &[0; 8]);
    let meta = br#"{"global": {"core:datatype": "rf32_le", "core:sample_rate": 1}}"#;
    let source = open(&put(&folder, "x.sigmf-meta", meta)).unwrap();
    for name in ["x.sigmf-meta", "x.sigmf-data", "x"] {
        let refused = Sink::create(folder.path().join(name), source.template(), &FORCE);
        assert!(matches!(refused, Err(FileError::OutputIsInput { .. })), "{name} {refused:?}");
    }
    assert_eq!(names_in(&folder), ["x.sigmf-data", "x.sigmf-meta"], "nothing else");
}

#[cfg(unix)]
#[test]
fn links_lead_to_the_file_that_is_replaced() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let folder = folder();
    let file = put(&folder, "file.f32", b"older");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let link = folder.path().join("link.f32");
    symlink("file.f32", &link).unwrap();
    assert!(matches!(create(&link), Err(FileError::OutputExists { .. })), "a link exists");
    Sink::create(&link, &template(), &FORCE).unwrap().finish().unwrap();
    assert!(link.is_symlink(), "still a link");
    assert_eq!(fs::read(&file).unwrap(), b"", "replaced");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640, "still for the same readers");
    let dangling = folder.path().join("dangling.f32");
    symlink("nowhere", &dangling).unwrap();
    assert!(matches!(create(&dangling), Err(FileError::OutputExists { .. })), "so does a broken one");
    let fresh = folder.path().join("fresh.f32");
    create(&fresh).unwrap().finish().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    let other = folder.path().join("other");
    fs::write(&other, "").unwrap();
    assert_eq!(mode(&fresh), mode(&other), "a new file follows the umask, as others do");
}

#[test]
fn places_that_cannot_be_written_are_named() {
    let folder = folder();
    let directory = create(folder.path());
    assert!(matches!(directory, Err(FileError::OutputIsDirectory { .. })), "{directory:?}");
    let named_like_one = create(&folder.path().join("new/"));
    assert!(matches!(named_like_one, Err(FileError::OutputIsDirectory { .. })), "{named_like_one:?}");
    let missing = create(&folder.path().join("none/out.wav"));
    assert!(matches!(missing, Err(FileError::OutputFolderMissing { .. })), "{missing:?}");
    let file = put(&folder, "file", b"x");
    let below_file = create(&file.join("out.wav"));
    assert!(matches!(below_file, Err(FileError::OutputFolderMissing { .. })), "{below_file:?}");
    if cfg!(target_os = "linux") {
        let refused = create("/proc/out.wav".as_ref());
        assert!(matches!(refused, Err(FileError::OutputFolderRefused { .. })), "{refused:?}");
        let message = message_of(refused, "/proc/out.wav");
        assert!(!message.contains(".tmp"), "no name of ours: {message}");
    }
}

#[test]
fn names_decide_what_is_written() {
    let folder = folder();
    let wav = put(&folder, "in.wav", &wav_bytes(&fmt(1, 1, 8000, 16), &[0; 8]));
    let source = open(&wav).unwrap();
    for (name, container, format) in [
        ("a.wav", Container::Wav, SampleFormat::S16),
        ("a.f32", Container::Raw, SampleFormat::F32),
        ("a.S16", Container::Raw, SampleFormat::S16),
        ("a.sigmf-meta", Container::SigMf, SampleFormat::S16),
        ("a", Container::Wav, SampleFormat::S16),
    ] {
        let path = folder.path().join(name);
        let sink = Sink::create(path, source.template(), &SinkOptions::default()).unwrap();
        assert_eq!((sink.spec().container, sink.spec().format), (container, format), "{name}");
    }
    for (name, expected) in [("a.mp3", ".wav"), ("a.cf32", "f32"), ("a.sigmf", "tar")] {
        let path = folder.path().join(name);
        let refused = Sink::create(path, source.template(), &SinkOptions::default());
        let message = message_of(refused, name);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn blocks_must_be_whole() {
    let folder = folder();
    let stereo = Template::new(SignalSpec::raw(SampleFormat::CF32, None, 2));
    let path = folder.path().join("x.cf32");
    let mut sink = Sink::create(&path, &stereo, &SinkOptions::default()).unwrap();
    let ragged = sink.write(&[0.0; 6]);
    assert!(matches!(ragged, Err(FileError::BlockRagged { expected: 4, actual: 6 })), "{ragged:?}");
    sink.write(&[0.0; 8]).unwrap();
    sink.write(&[]).unwrap();
    sink.finish().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 32, "what was whole");
}

/// Takes so many bytes, then fails.
struct Full(usize, io::ErrorKind);

impl io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(self.1.into());
        }
        let len = bytes.len().min(self.0);
        self.0 -= len;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_is_a_clean_error() {
    for (kind, is_closed) in [(io::ErrorKind::BrokenPipe, true), (io::ErrorKind::Other, false)] {
        let options = SinkOptions::default();
        let mut sink = Sink::to_writer("standard output", Full(100, kind), &template(), &options).unwrap();
        sink.write(&[0.0; 10]).unwrap(); // 40 bytes
        let error = sink.write(&vec![0.0; 1 << 20]).unwrap_err();
        assert_eq!(matches!(error, FileError::OutputClosed { .. }), is_closed, "{error}");
        let after = sink.finish();
        assert!(matches!(after, Err(FileError::OutputAbandoned { .. })), "{after:?}");
    }
    assert_eq!(Output::from("-"), Output::Stdout, "a dash");
}

#[cfg(target_os = "linux")]
#[test]
fn devices_are_written_to_and_never_replaced() {
    let mut sink = create("/dev/null".as_ref()).unwrap();
    sink.write(&[0.0; 10]).unwrap();
    sink.finish().unwrap();
    assert!(!fs::metadata("/dev/null").unwrap().is_file(), "still a device");
    let mut sink = create("/dev/full".as_ref()).unwrap();
    message_of(sink.write(&[0.0; 10]), "/dev/full");
}

#[test]
fn a_pipe_gets_bare_samples() {
    let (mut reader, writer) = io::pipe().unwrap();
    let folder = folder();
    let mut source = open(&put(&folder, "in.wav", &wav_bytes(&fmt(1, 1, 8000, 16), &[1, 2, 3, 4]))).unwrap();
    let options = SinkOptions::default();
    let mut sink = Sink::to_writer("pipe", writer, source.template(), &options).unwrap();
    sink.write(&drain(&mut source, 1).unwrap()).unwrap();
    let mut bytes = [0; 4];
    io::Read::read_exact(&mut reader, &mut bytes).unwrap(); // at once, before the end
    sink.finish().unwrap();
    assert_eq!(bytes, [1, 2, 3, 4], "no header");
}
