// What a device needs of a checkpoint: the encoder of a low_rank projector as an encoder file.
#pragma once

#include <string>

#include "kvalign/format/encoder_file.h"
#include "kvalign/format/export.h"

namespace kvalign {

struct EncoderExport {
  EncoderFileHeader header;
  std::string bytes;  ///< the whole file (format/encoder_file.h)
};

/// Reads the checkpoint at `path`; `rank` keeps the first numbers of its latent, 0 all. The
/// encoder's id is the SHA-256 of the checkpoint's file. Throws std::runtime_error as
/// load_checkpoint, c10::Error for a rank that is not 1 .. the checkpoint's, and std::runtime_error
/// for a projector of another kind.
KVALIGN_API EncoderExport export_encoder(const std::string& path, int64_t rank = 0);

}  // namespace kvalign
