//! A server for tests of the HTTP service, and how they talk to it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use auricle::serve::{ConnectionLimits, ServeOptions, Server, Service};
use auricle::{DeviceChoice, Engine, EngineOptions};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::{self, WebSocket};

/// Nobody waits so long on a machine that works.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A server that runs until it is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine,
    pub(crate) service: Service,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<usize>>,
}

pub(crate) fn engine(options: EngineOptions) -> Engine {
    Engine::open(&EngineOptions { device: DeviceChoice::Cpu, threads: 2, ..options }).unwrap()
}

pub(crate) fn start(engine: Engine, options: ServeOptions, limits: ConnectionLimits) -> Running {
    let service = Service::new(engine.clone(), options).unwrap();
    let served = service.clone();
    let (stop, stopped) = oneshot::channel();
    let (tell, told) = crossbeam::channel::bounded(1);
    let run = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::bind("127.0.0.1:0".parse().unwrap(), &served, limits).await.unwrap();
            tell.send(server.address().unwrap()).unwrap();
            server.run(async { drop(stopped.await) }).await.unwrap()
        })
    };
    let thread = std::thread::Builder::new().name("test.server".to_owned()).spawn(run).unwrap();
    let address = told.recv_timeout(LONG).expect("the server should start");
    Running { address, engine, service, stop: Some(stop), thread: Some(thread) }
}

pub(crate) fn plain() -> Running {
    start(engine(EngineOptions::default()), ServeOptions::default(), ConnectionLimits::default())
}

impl Running {
    /// Tells it to end.
    pub(crate) fn tell(&mut self) {
        drop(self.stop.take());
    }

    /// Ends it; returns how many connections did not end by themselves.
    pub(crate) fn stop(&mut self) -> usize {
        self.tell();
        self.thread.take().map_or(0, |thread| thread.join().expect("the server should end well"))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        answer(agent().get(self.url(path)).call())
    }

    pub(crate) fn post(&self, path: &str, body: &[u8]) -> (u16, Vec<u8>, Option<String>) {
        let mut response = agent().post(self.url(path)).send(body).unwrap();
        let notice = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        let body = response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
        (response.status().as_u16(), body, notice)
    }

    /// Sends bytes as they are, and reads what comes back until the other side closes, or nothing comes for a while.
    pub(crate) fn raw(&self, bytes: &[u8], patience: Duration) -> (String, Duration) {
        let mut connection = TcpStream::connect(self.address).unwrap();
        connection.set_read_timeout(Some(patience)).unwrap();
        let start = Instant::now();
        // It may refuse before it has read all.
        connection.write_all(bytes).ok();
        let mut back = Vec::new();
        connection.read_to_end(&mut back).ok();
        (String::from_utf8_lossy(&back).into_owned(), start.elapsed())
    }

    pub(crate) fn socket(&self, query: &str) -> WebSocket<TcpStream> {
        let connection = TcpStream::connect(self.address).unwrap();
        connection.set_read_timeout(Some(LONG)).unwrap();
        let url = format!("ws://{}/v1/stream?{query}", self.address);
        let (socket, _) = tungstenite::client(url, connection).expect("the stream should open");
        socket
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(LONG)).build().into()
}

pub(crate) fn answer(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> (u16, Value) {
    let mut response = response.unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    (response.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

pub(crate) fn assert_problem((status, problem): &(u16, Value), expected: u16, code: &str) {
    assert_eq!((*status, problem["code"].as_str()), (expected, Some(code)), "{problem}");
    assert_eq!(problem["status"], expected, "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{problem}");
}

/// What the same samples give through the crate.
pub(crate) fn filtered(samples: &[f32], channels: usize) -> Vec<f32> {
    let graph = auricle::Graph::new()
        .input("in", auricle::FrameShape::real(1024))
        .gate("gate", "in", auricle::Gate { hold: 2, ..auricle::Gate::default() })
        .filter("filter", "gate", auricle::PhiResolvent { mode: auricle::FilterMode::Seamless, ..Default::default() })
        .output("clean", "filter");
    let times = samples.len() / channels;
    let whole = times.div_ceil(1024) * 1024;
    let mut planar = vec![0.0; whole * channels];
    for (index, sample) in samples.iter().enumerate() {
        planar[(index % channels) * whole + index / channels] = *sample;
    }
    let output = engine(EngineOptions::default()).compile(&graph).unwrap().run(&[&planar], channels).unwrap();
    let clean = output.dense("clean").unwrap();
    (0..samples.len()).map(|index| clean[(index % channels) * whole + index / channels]).collect()
}
