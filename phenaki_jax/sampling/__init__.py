"""From text to video: masked decoding, guidance, clips and stories."""
