//! A fake MQTT 3.1.1 broker on loopback: names and passwords, acknowledged and kept messages, the last will of whoever goes
//! without a word, subscriptions without patterns.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{ConnAck, ConnectReturnCode, Packet, PubAck, Publish, SubAck, SubscribeReasonCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

const PACKET_BYTES_MAX: usize = 64 << 10;

#[derive(Default)]
struct Now {
    kept: BTreeMap<String, String>,
    said: Vec<(String, String)>,
    topics: BTreeSet<String>,
    connections: usize,
    is_away: bool,
}

#[derive(Clone)]
pub(crate) struct FakeBroker {
    pub(crate) address: SocketAddr,
    login: Option<(&'static str, &'static str)>,
    now: Arc<Mutex<Now>>,
    /// What is said to whoever is connected; nothing, to cut them off.
    others: broadcast::Sender<Option<(String, String)>>,
}

impl FakeBroker {
    pub(crate) async fn start(login: Option<(&'static str, &'static str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (others, _) = broadcast::channel(16);
        let fake = Self { address: listener.local_addr().unwrap(), login, now: Arc::default(), others };
        let broker = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if !broker.locked().is_away {
                    let broker = broker.clone();
                    tokio::spawn(async move { broker.serve(stream).await });
                }
            }
        });
        fake
    }

    fn locked(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap()
    }

    pub(crate) fn kept(&self, topic: &str) -> Option<String> {
        self.locked().kept.get(topic).cloned()
    }

    pub(crate) fn kept_topics(&self) -> Vec<String> {
        self.locked().kept.keys().cloned().collect()
    }

    pub(crate) fn said(&self) -> Vec<(String, String)> {
        self.locked().said.clone()
    }

    pub(crate) fn topics(&self) -> Vec<String> {
        self.locked().topics.iter().cloned().collect()
    }

    /// Cuts everybody off and takes nobody until told otherwise.
    pub(crate) fn is_away(&self, is_away: bool) {
        self.locked().is_away = is_away;
        if is_away {
            let _ = self.others.send(None);
        }
    }

    /// Forgets what it keeps, as one without a disk does.
    pub(crate) fn forget(&self) {
        self.locked().kept.clear();
    }

    /// Somebody else says something.
    pub(crate) fn say(&self, topic: &str, payload: &str) {
        let _ = self.others.send(Some((topic.to_owned(), payload.to_owned())));
    }

    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let looking = async {
            while !is_so(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let missing = |_| panic!("{what}: {:#?} {:#?}", self.locked().kept, self.said());
        tokio::time::timeout(Duration::from_secs(30), looking).await.unwrap_or_else(missing);
    }

    fn take(&self, topic: String, payload: &[u8], is_kept: bool) {
        let payload = String::from_utf8(payload.to_vec()).unwrap();
        let mut now = self.locked();
        if is_kept {
            now.kept.insert(topic.clone(), payload.clone());
        }
        now.said.push((topic, payload));
    }

    async fn serve(&self, mut stream: TcpStream) {
        let (mut received, mut others, mut will) = (BytesMut::new(), self.others.subscribe(), None);
        self.locked().connections += 1;
        loop {
            let packet = match Packet::read(&mut received, PACKET_BYTES_MAX) {
                Ok(packet) => packet,
                Err(rumqttc::mqttbytes::Error::InsufficientBytes(_)) => {
                    let other = tokio::select! {
                        count = stream.read_buf(&mut received) => match count {
                            Ok(1..) => continue,
                            _ => break,
                        },
                        other = others.recv() => other.unwrap_or_default(),
                    };
                    let Some((topic, payload)) = other else { break };
                    if self.locked().topics.contains(&topic) {
                        send(&mut stream, Packet::Publish(Publish::new(topic, QoS::AtMostOnce, payload))).await;
                    }
                    continue;
                }
                Err(error) => panic!("no MQTT: {error}"),
            };
            match packet {
                Packet::Connect(hello) => {
                    let login = hello.login.map(|it| (it.username, it.password));
                    let wanted = self.login.map(|(user, password)| (user.to_owned(), password.to_owned()));
                    let is_right = wanted.is_none() || wanted == login;
                    let code =
                        if is_right { ConnectReturnCode::Success } else { ConnectReturnCode::BadUserNamePassword };
                    send(&mut stream, Packet::ConnAck(ConnAck::new(code, false))).await;
                    if !is_right {
                        break;
                    }
                    will = hello.last_will;
                }
                Packet::Publish(said) => {
                    self.take(said.topic, &said.payload, said.retain);
                    if said.qos == QoS::AtLeastOnce {
                        send(&mut stream, Packet::PubAck(PubAck::new(said.pkid))).await;
                    }
                }
                Packet::Subscribe(asked) => {
                    let codes = asked.filters.iter().map(|it| SubscribeReasonCode::Success(it.qos)).collect();
                    self.locked().topics.extend(asked.filters.into_iter().map(|it| it.path));
                    send(&mut stream, Packet::SubAck(SubAck::new(asked.pkid, codes))).await;
                }
                Packet::PingReq => send(&mut stream, Packet::PingResp).await,
                Packet::Disconnect => {
                    will = None;
                    break;
                }
                _ => {}
            }
        }
        if let Some(will) = will {
            self.take(will.topic, &will.message, will.retain);
        }
    }
}

async fn send(stream: &mut TcpStream, packet: Packet) {
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes, PACKET_BYTES_MAX).unwrap();
    // Whoever has gone does not hear it.
    let _ = stream.write_all(&bytes).await;
}
