#include "wire/handoff_notice.h"

#include "wire/messages.pb.h"
#include "wire/parse.h"

namespace dynamo::wire {

using Kind = HandoffNotice::Kind;

std::string to_bytes(const HandoffNotice& notice) {
  proto::HandoffNotice message;
  message.set_room(notice.room);
  message.set_first_block(notice.first_block);
  message.set_computed(notice.computed);
  message.set_first_token(notice.first_token);
  message.set_is_waiting(notice.kind == Kind::kWaiting);
  message.set_is_closed(notice.kind == Kind::kClosed);
  return message.SerializeAsString();
}

Result<HandoffNotice> handoff_notice_from_bytes(std::string_view bytes) {
  proto::HandoffNotice message;
  if (!parse(bytes, &message)) return corrupt("a notice of a hand-off that cannot be read");
  HandoffNotice notice;
  notice.room = message.room();
  notice.kind = message.is_closed() ? Kind::kClosed : message.is_waiting() ? Kind::kWaiting : Kind::kBlocks;
  notice.first_block = message.first_block();
  notice.computed = message.computed();
  notice.first_token = message.first_token();
  return notice;
}

}  // namespace dynamo::wire
