// A flag that poll() sees: set once, seen by all who wait. Private to serve/.
#pragma once

namespace kvalign {

class EventDescriptor {
 public:
  EventDescriptor();  ///< throws std::system_error
  ~EventDescriptor();
  EventDescriptor(const EventDescriptor&) = delete;
  EventDescriptor& operator=(const EventDescriptor&) = delete;

  void set();
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

}  // namespace kvalign
