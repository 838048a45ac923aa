# Sends the files order.json names with Net::SMTP, through mail_session of mail.rb; both are in the working folder.
require "json"
load "./mail.rb"

order = JSON.parse(File.read("order.json"))
mail_session do |smtp|
  order["messages"].each do |one|
    reply = smtp.send_message(File.binread(one["eml"]), order["from"]["address"], one["to"]["address"])
    abort reply.string unless reply.success?
  end
end
