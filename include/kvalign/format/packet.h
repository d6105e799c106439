// The packet: what crosses the network. It holds the cache of a prefix, or its latent, and what the
// receiver needs to use it; models, projectors and FP8 arithmetic are not its business. Sizes that
// follow from a header are in packet_layout.h; packet_writer.h makes packets, packet_reader.h reads
// them. Everything here is C++17, allocates nothing and throws nothing.
//
// Version 1. Little-endian, without padding or alignment. A packet is a row of records, each ending
// in the CRC-32C of its other bytes: header, preamble, chunks, end.
//
//   T num_tokens   S num_sinks   E num_reread   K tokens of a chunk
//   M streams: 2 num_layers (keys of layer 0 .. L-1, then values), 1 for a flat cache or a latent
//   W elements of one token in one stream: num_kv_heads * head_dim, or rank
//
//   header    offset  bytes
//                  0      8  magic 89 'K' 'V' 'P' 0D 0A 1A 0A; a transfer as text damages it
//                  8      2  version, 1
//                 10      2  bytes of the header with its checksum, 132
//                 12      1  content, PacketContent
//                 13      1  element, PacketElement
//                 14      1  scales, PacketScales
//                 15      1  token_ids, PacketTokenIds
//                 16   4, 4  num_layers, num_kv_heads
//                 24   4, 4  head_dim, rank
//                 32   4, 4  num_tokens, chunk_tokens
//                 40   4, 4  num_sinks, num_reread
//                 48      8  position_offset
//                 56      8  bytes of the whole packet
//                 64     32  geometry_id
//                 96     32  encoder_id
//                128      4  CRC-32C
//   preamble       0         static scales: float32 [M] (tensor), [M, num_kv_heads] (head),
//                            [M, W] (channel); none otherwise
//                         4S token ids of the sinks, int32
//                          4 CRC-32C
//   chunk          0       4 mark 'C' 'H' 'N' 'K'
//                  4    4, 4 first token of the chunk, counted from the packet's first; K
//                 12       8 bytes of the ids, scales and codes that follow
//                 20   0, 4K token ids, int32, where token_ids is kAll
//                            scales: float32 [K, M] (token), E8M0 [K, M, ceil(W / 32)] (block);
//                            none otherwise
//                            codes: elements [K, M, W]
//                          4 CRC-32C
//   end            0    4, 4 mark 'E' 'N' 'D' '.'; number of chunks
//                  8      4E token ids of the re-read tokens, int32
//                          4 CRC-32C
//
// Codes are token-major: a chunk can leave as soon as its tokens exist, and the codes of all chunks
// are one matrix [tokens, features] for the projector, whatever the chunks were.
// The receiver computes the first S and the last E tokens itself, so they travel as ids alone;
// chunks hold the tokens S .. T-E-1, chunk_tokens each, the last one the rest.
// Every size follows from the header. Sizes that are written as well are there to be compared, and
// for whoever passes packets on without understanding them.
#pragma once

#include <array>
#include <cstdint>

namespace kvalign {

constexpr uint16_t kPacketVersion = 1;

enum class PacketContent : uint8_t {
  kCache = 1,      // content keys and values of every layer
  kFlatCache = 2,  // one stream without layers: num_layers is 1
  kLatent = 3,     // rank numbers a token, made by the encoder of a low_rank checkpoint
};

enum class PacketElement : uint8_t { kE4M3FN = 1, kE5M2 = 2, kF16 = 3, kBF16 = 4, kF32 = 5 };

// How many codes share a scale; anything but kNone goes with FP8 alone. The static ones are known
// before the first token and travel once, the others travel with their tokens.
enum class PacketScales : uint8_t {
  kNone = 0,
  kTensor = 1,   // static: one for each stream
  kHead = 2,     // static: one for each head of each stream; not in latents
  kToken = 3,    // one for each token of each stream
  kChannel = 4,  // static: one for each element of a row of each stream
  kBlock32 = 5,  // E8M0, one for 32 neighbours in a row; the last block of a row may be shorter
};

// Which tokens come with their ids. Those that the receiver computes itself always do.
enum class PacketTokenIds : uint8_t { kRecomputed = 0, kAll = 1 };

// A SHA-256, opaque to this folder.
using PacketId = std::array<uint8_t, 32>;

struct PacketHeader {
  PacketContent content = PacketContent::kCache;
  PacketElement element = PacketElement::kE4M3FN;
  PacketScales scales = PacketScales::kNone;
  PacketTokenIds token_ids = PacketTokenIds::kRecomputed;
  uint32_t num_layers = 0;       // 0 for a latent, as the two that follow
  uint32_t num_kv_heads = 0;     //
  uint32_t head_dim = 0;         //
  uint32_t rank = 0;             // of a latent; 0 for a cache
  uint32_t num_tokens = 0;       // of the prefix, sinks and re-read tokens included; at least 1
  uint32_t chunk_tokens = 0;     // at least 1
  uint32_t num_sinks = 0;        // first tokens, which the receiver computes itself
  uint32_t num_reread = 0;       // last tokens, which the receiver computes itself
  uint64_t position_offset = 0;  // position of the packet's first token in its sequence
  PacketId geometry_id{};        // of the sender's geometry as JSON
  PacketId encoder_id{};         // of the checkpoint that made the latent; zeros for a cache
};

}  // namespace kvalign
