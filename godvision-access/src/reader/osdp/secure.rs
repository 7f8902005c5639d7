//! OSDP's secure channel: session keys, cryptograms, the chain of MACs, AES-128-CBC of the data.
//!
//! Source: SIA OSDP v2.2, annex D. The random number of the panel alone makes the session's keys, and each MAC begins
//! with the one before it, in whichever direction that went: a packet that is lost, repeated or made up breaks the chain.
//!
//! **Never:** a decision which key it is.

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use subtle::ConstantTimeEq;

/// A key or a MAC.
pub(super) type Block = [u8; 16];

/// The key of a device in installation mode (SCBK-D), which everybody knows.
pub(super) const SCBK_D: Block = *b"0123456789:;<=>?";

const END_OF_DATA: u8 = 0x80;

/// The keys of one session.
pub(super) struct Keys {
    data: Aes128,
    /// For all blocks of a MAC but the last, and for that one.
    mac: [Aes128; 2],
}

fn encrypted(key: &Aes128, block: Block) -> Block {
    let mut block = block.into();
    key.encrypt_block(&mut block);
    block.into()
}

fn joined(first: [u8; 8], second: [u8; 8]) -> Block {
    let mut block = [0; 16];
    for (place, byte) in block.iter_mut().zip(first.into_iter().chain(second)) {
        *place = byte;
    }
    block
}

fn mixed(mut block: Block, with: &[u8]) -> Block {
    for (place, byte) in block.iter_mut().zip(with) {
        *place ^= byte;
    }
    block
}

impl Keys {
    /// The session's keys, from the base key and the panel's random number.
    pub(super) fn derive(base: &Block, panel: [u8; 8]) -> Self {
        let base = Aes128::new(base.into());
        let key = |second| {
            let [a, b, c, d, e, f, ..] = panel;
            Aes128::new(&encrypted(&base, joined([1, second, a, b, c, d, e, f], [0; 8])).into())
        };
        Self { data: key(0x82), mac: [key(0x01), key(0x02)] }
    }

    /// What the device proves with that it knows the key.
    pub(super) fn device_proof(&self, panel: [u8; 8], device: [u8; 8]) -> Block {
        encrypted(&self.data, joined(panel, device))
    }

    /// What the panel proves with that it knows the key.
    pub(super) fn panel_proof(&self, panel: [u8; 8], device: [u8; 8]) -> Block {
        encrypted(&self.data, joined(device, panel))
    }

    /// The MAC that the chain begins with.
    pub(super) fn first_mac(&self, panel_proof: Block) -> Block {
        let [first, last] = &self.mac;
        encrypted(last, encrypted(first, panel_proof))
    }
}

/// Whether two secrets are the same, in a time that does not say where they differ.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// A session under way.
pub(super) struct Session {
    keys: Keys,
    /// The last MAC, whoever made it.
    last: Block,
}

impl Session {
    pub(super) fn new(keys: Keys, first_mac: Block) -> Self {
        Self { keys, last: first_mac }
    }

    fn next_mac(&self, head: &[u8]) -> Block {
        let [first, last] = &self.keys.mac;
        let mut mac = self.last;
        let mut rest = head;
        while let Some((block, tail)) = rest.split_at_checked(16).filter(|(_, tail)| !tail.is_empty()) {
            mac = encrypted(first, mixed(mac, block));
            rest = tail;
        }
        // The last block, filled up if it is not whole.
        mac = mixed(mac, rest);
        if let Some(place) = mac.get_mut(rest.len()) {
            *place ^= END_OF_DATA;
        }
        encrypted(last, mac)
    }

    /// The MAC of a packet of ours, and the chain goes on from it.
    pub(super) fn sign(&mut self, head: &[u8]) -> [u8; 4] {
        self.last = self.next_mac(head);
        let [a, b, c, d, ..] = self.last;
        [a, b, c, d]
    }

    /// Whether the MAC of a packet of theirs is right; if so, the chain goes on from it.
    pub(super) fn verify(&mut self, head: &[u8], mac: [u8; 4]) -> bool {
        let wanted = self.next_mac(head);
        let is_right = wanted.get(..4).is_some_and(|wanted| same(wanted, &mac));
        if is_right {
            self.last = wanted;
        }
        is_right
    }

    fn start(&self) -> Block {
        self.last.map(|byte| !byte)
    }

    /// Encrypts the data of a packet; to be called before it is signed.
    pub(super) fn encrypt(&self, data: &[u8]) -> Vec<u8> {
        let mut padded = data.to_vec();
        padded.push(END_OF_DATA);
        padded.resize(padded.len().next_multiple_of(16), 0);
        let mut before = self.start();
        let mut out = Vec::with_capacity(padded.len());
        for block in padded.chunks(16) {
            before = encrypted(&self.keys.data, mixed(before, block));
            out.extend_from_slice(&before);
        }
        out
    }

    /// Decrypts the data of a packet; to be called before it is verified, and believed after. `None` if it is no such data.
    pub(super) fn decrypt(&self, data: &[u8]) -> Option<Vec<u8>> {
        let mut before = self.start();
        let mut out = Vec::with_capacity(data.len());
        let (blocks, []) = data.as_chunks::<16>() else { return None };
        for block in blocks {
            let mut clear = (*block).into();
            self.keys.data.decrypt_block(&mut clear);
            out.extend_from_slice(&mixed(clear.into(), &before));
            before = *block;
        }
        while out.pop_if(|byte| *byte == 0).is_some() {}
        (out.pop() == Some(END_OF_DATA)).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Session, Session) {
        let keys = || Keys::derive(&[7; 16], [1; 8]);
        let first = keys().first_mac(keys().panel_proof([1; 8], [2; 8]));
        (Session::new(keys(), first), Session::new(keys(), first))
    }

    #[test]
    fn data_of_any_length_comes_back() {
        for length in 0..50 {
            let data: Vec<u8> = (0..length).collect();
            let (panel, device) = pair();
            let hidden = panel.encrypt(&data);
            assert_eq!(hidden.len() % 16, 0);
            assert_eq!(device.decrypt(&hidden), Some(data), "{length}");
        }
        assert_eq!(pair().0.decrypt(&[0; 15]), None);
        assert_eq!(pair().0.decrypt(&[]), None);
    }

    #[test]
    fn the_chain_breaks_at_whatever_was_changed_lost_or_repeated() {
        let (mut panel, mut device) = pair();
        for length in [1, 15, 16, 17, 31, 32, 33] {
            let head = vec![9; length];
            let mac = panel.sign(&head);
            let mut other = head.clone();
            other[length - 1] ^= 1;
            assert!(!device.verify(&other, mac), "{length}");
            assert!(device.verify(&head, mac), "{length}");
            assert!(!device.verify(&head, mac), "{length}: repeated");
        }
        panel.sign(&[1]);
        let after_a_lost_one = panel.sign(&[2]);
        assert!(!device.verify(&[2], after_a_lost_one));
    }
}
