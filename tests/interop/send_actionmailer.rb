# Sends what order.json says with ActionMailer, set up by mail.rb as Rails would; both are in the working folder.
require "action_mailer"
require "json"

config = Struct.new(:action_mailer).new(ActionMailer::Base)
eval(File.read("mail.rb"), binding, "mail.rb")

class OrderMailer < ActionMailer::Base
  def order(from, one)
    attachments[one["filename"]] = File.binread(one["file"]) if one["file"]
    mail(from: address(from), to: address(one["to"]), subject: one["subject"]) do |format|
      format.text { render plain: one["text"] }
    end
  end

  private

  def address(of)
    email_address_with_name(of["address"], of["name"])
  end
end

ActionMailer::Base.logger = nil
order = JSON.parse(File.read("order.json"))
order["messages"].each { |one| OrderMailer.order(order["from"], one).deliver_now }
