select
    cast(event_at as date) as metric_date,
    copy_id,
    {%- for metric in ['sent', 'delivered', 'opened', 'clicked', 'converted', 'unsubscribed', 'bounced'] %}
    count(distinct case when metric = '{{ metric }}' then delivery_key end) as {{ metric }},
    count(case when metric = '{{ metric }}' then 1 end) as {{ metric }}_events,
    {%- endfor %}
    count(distinct case when metric = 'opened' and not is_machine then delivery_key end) as human_opened,
    count(distinct case when metric = 'clicked' and not is_machine then delivery_key end) as human_clicked
from {{ ref('engagement') }}
where delivery_key is not null
group by cast(event_at as date), copy_id
