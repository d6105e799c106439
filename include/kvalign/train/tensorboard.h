// Writes scalars to a TensorBoard event file. Framing: TFRecord (length, masked CRC-32C of the
// length, data, masked CRC-32C of the data; tensorflow/core/lib/io/record_writer.h). Data: a
// protobuf Event (tensorflow/core/util/event.proto) encoded by hand, since four of its fields are
// all that is needed.
#pragma once

#include <cstdint>
#include <string>

#include "kvalign/format/export.h"
#include "kvalign/train/append_file.h"

namespace kvalign {

class KVALIGN_API EventWriter {
 public:
  /// Opens or creates `path` (TensorBoard wants "tfevents" in the name), keeping its first
  /// `keep_bytes`. A file that is empty then begins with the version record. Throws
  /// std::runtime_error.
  EventWriter(const std::string& path, int64_t keep_bytes);

  /// One point of the curve `tag`.
  void scalar(const std::string& tag, int64_t step, float value);

  void sync() { file_.sync(); }
  int64_t size_bytes() const { return file_.size_bytes(); }

 private:
  void write_record(const std::string& data);

  AppendFile file_;
};

}  // namespace kvalign
