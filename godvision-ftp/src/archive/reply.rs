//! What an FTP server's refusal means: reply codes of RFC 959, 2228 and 3659 to [`ArchiveError`].
//!
//! Servers differ in the code but agree in the words: a full disk is 552 at pure-ftpd and `451 Failure writing to local
//! file` at vsftpd, so the text is looked at where the code alone does not tell.
//!
//! **Never:** passwords: only what the server said is repeated, shortened and without control characters.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

use godvision_core::driver::archive::ArchiveError;

/// Characters of a server's words that are repeated.
const WORDS_MAX: usize = 160;

/// The first line of a reply: its code and its words. `None` if it does not begin with three digits.
pub(crate) fn parse(body: &[u8]) -> Option<(u16, String)> {
    let code = body.get(..3)?;
    if !code.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = std::str::from_utf8(code).ok()?.parse().ok()?;
    Some((code, words(body.get(4..).unwrap_or_default())))
}

/// One short printable line.
pub(crate) fn words(bytes: &[u8]) -> String {
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect()
}

/// What was being done when the server refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    Login,
    Other,
}

/// The error behind a refusal. `address` is host and port.
pub(crate) fn error(address: &str, code: u16, words: &str, doing: Doing) -> ArchiveError {
    let (address, detail) = (address.to_owned(), format!("{code} {words}"));
    let lower = words.to_lowercase();
    let says = |needles: &[&str]| needles.iter().any(|needle| lower.contains(needle));
    let is_about_tls = says(&["encrypt", "cleartext", "tls", "ssl"]);
    let is_about_space = says(&["quota", "no space", "disk full", "writing to local file", "exceeded"]);
    match (code, doing) {
        (530 | 532 | 421, _) if is_about_tls => ArchiveError::Tls { address, detail },
        (522 | 533..=536, _) => ArchiveError::Tls { address, detail },
        (430 | 530 | 532, _) | (331 | 332, Doing::Login) => ArchiveError::AuthFailed { address },
        (452 | 552, _) => ArchiveError::Full { address, detail },
        (426 | 451 | 550 | 553, _) if is_about_space => ArchiveError::Full { address, detail },
        (521 | 550 | 551 | 553, _) => ArchiveError::Denied { address, detail },
        (421 | 425 | 426 | 434, _) => ArchiveError::Unreachable { address, detail },
        _ => ArchiveError::Protocol { address, detail },
    }
}

/// Whether the server gave up on a data connection because its TLS session was not resumed: TLS 1.2 helps.
pub(crate) fn wants_tls12(code: u16, words: &str) -> bool {
    let lower = words.to_lowercase();
    matches!(code, 425 | 522) || (matches!(code, 426 | 450 | 451 | 550) && lower.contains("reuse"))
}

/// The 64 hexadecimal digits in the reply to HASH, XSHA256 or SITE SHA256.
pub(crate) fn sha256(words: &str) -> Option<[u8; 32]> {
    words.split_whitespace().find(|word| word.len() == 64).and_then(super::url::parse_fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kind(code: u16, words: &str, doing: Doing) -> &'static str {
        match error("nas:21", code, words, doing) {
            ArchiveError::AuthFailed { .. } => "auth",
            ArchiveError::Tls { .. } => "tls",
            ArchiveError::Full { .. } => "full",
            ArchiveError::Denied { .. } => "denied",
            ArchiveError::Unreachable { .. } => "unreachable",
            ArchiveError::Protocol { .. } => "protocol",
            _ => "other",
        }
    }

    #[test]
    fn what_real_servers_say_is_understood() {
        for (code, words, doing, expected) in [
            (530, "Login incorrect.", Doing::Login, "auth"),
            (530, "Login authentication failed", Doing::Login, "auth"),
            (530, "Non-anonymous sessions must use encryption.", Doing::Login, "tls"),
            (421, "Sorry, cleartext sessions and weak ciphers are not accepted on this server.", Doing::Login, "tls"),
            (421, "There are too many connected users, please try later.", Doing::Login, "unreachable"),
            (552, "Disk full - please upload later", Doing::Other, "full"),
            (451, "Failure writing to local file.", Doing::Other, "full"),
            (550, "Permission denied.", Doing::Other, "denied"),
            (553, "Could not create file.", Doing::Other, "denied"),
            (553, "Disk quota exceeded", Doing::Other, "full"),
            (425, "Failed to establish connection.", Doing::Other, "unreachable"),
            (522, "SSL connection failed: session reuse required", Doing::Other, "tls"),
            (502, "Command not implemented.", Doing::Other, "protocol"),
        ] {
            assert_eq!(kind(code, words, doing), expected, "{code} {words}");
        }
        assert!(wants_tls12(425, "Unable to build data connection: Operation not permitted"));
        assert!(!wants_tls12(552, "full"));
    }

    #[test]
    fn hashes_are_found_in_any_of_the_replies() {
        let hash = "ab".repeat(32);
        for words in
            [hash.clone(), format!("SHA-256 0-49 {hash} clip.mp4"), format!("{} clip.mp4", hash.to_uppercase())]
        {
            assert_eq!(sha256(&words), Some([0xab; 32]));
        }
        assert_eq!(sha256("SHA-256 0-49 abcd clip.mp4"), None);
    }

    proptest! {
        #[test]
        fn garbage_is_a_short_line_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), code in any::<u16>()) {
            if let Some((code, words)) = parse(&bytes) {
                prop_assert!(code < 1000);
                prop_assert!(words.chars().count() <= WORDS_MAX && !words.chars().any(char::is_control));
            }
            let words = words(&bytes);
            let _ = (error("a", code, &words, Doing::Other), wants_tls12(code, &words), sha256(&words));
        }
    }
}
